"""Records and artifacts on disk: written once, whole or not at all, and read only if they are what was written.

<results>/runs/records/ab/<identity>.<code>.json   one record; <code> digests fingerprint and numerics class
<results>/runs/artifacts/<identity>.<code>/        its files
<results>/runs/attempts/                           unfinished re-runs of trials that have a finished record
<results>/runs/quarantine/                         files that were damaged, or that contradict each other
<results>/runs/work/<identity>/                    checkpoints of a trial in flight
<results>/runs/plans/                              see harness.records.plans
<results>/reference/                               see harness.records.reference
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree

from harness.errors import BusyError, DamagedError, StoreError
from harness.files import digest_of_file, links_below, lock, make_folder, move, write_atomically
from harness.records.agreement import contradiction, merged
from harness.records.encoding import encode, file_name, read_record
from harness.records.record import FINISHED, Record, RecordSet

WAIT_SECONDS = 10.0
"""How long a command that reads and adds waits for one that removes or moves."""


@dataclass(frozen=True)
class Written:
    """What became of a record that was handed to the store."""

    path: Path
    """The file that was written, or that stayed."""
    record: Record | None
    """What the store now holds of this identity and code; None if both were quarantined."""
    note: str = ""
    """What a user should know, e.g. that an earlier record stayed."""


class Store:
    """The results folder. Raises StoreError if it cannot be used."""

    def __init__(self, root: Path | str = "results") -> None:
        self.root = Path(root)
        self.runs = self.root / "runs"
        self.records = self.runs / "records"
        self.artifacts = self.runs / "artifacts"
        self.attempts = self.runs / "attempts"
        self.plans = self.runs / "plans"
        self.work = self.runs / "work"
        self.data = self.root / "data"
        self.reports = self.root / "report"

    def prepare(self) -> None:
        """Make the folders and see that they can be written and are no links."""
        try:
            for folder in (self.records, self.artifacts, self.plans, self.work, self.data):
                make_folder(folder)
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            raise StoreError(
                f"results folder {str(self.root)!r} cannot be written: {error.strerror}. "
                "Give another with --results FOLDER, or change its permissions."
            ) from None
        for folder in (self.runs, self.records, self.artifacts, self.attempts, self.plans, self.work):
            if folder.is_symlink():
                raise StoreError(
                    f"{folder}: a symbolic link; a store holds its own files, so that nothing outside can change "
                    "them: move the folder here, or give its results folder with --results"
                )

    @contextmanager
    def shared(self, who: str) -> Iterator[None]:
        """For commands that read and add (run, execute, report): several at once. ``who``: the command."""
        with self._locked(who, shared=True, seconds=WAIT_SECONDS):
            yield

    @contextmanager
    def exclusive(self, who: str) -> Iterator[None]:
        """For commands that remove or move (clean, import, accept, update): nothing else runs meanwhile."""
        with self._locked(who, shared=False, seconds=0.0):
            yield

    @contextmanager
    def _locked(self, who: str, shared: bool, seconds: float) -> Iterator[None]:
        if not self.runs.is_dir():
            yield  # nothing is here that anybody could be at
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(lock(self.runs / "store.lock", shared=shared, seconds=seconds, who=who))
            except BusyError as error:
                busy = ", ".join(error.holders) or "another process"
                raise StoreError(
                    f"{self.root}: {who} has to wait, the store is in use by {busy}; try again when it has ended"
                ) from None
            except OSError as error:
                raise StoreError(f"{self.runs} cannot be written: {error.strerror}") from None
            yield

    # --- records -------------------------------------------------------------------------------------------

    def path_of(self, record: Record) -> Path:
        return self.records / record.identity[:2] / file_name(record)

    def artifact_folder(self, record: Record) -> Path:
        return self.artifacts / file_name(record).removesuffix(".json")

    def checked_artifacts(self, record: Record) -> Path:
        """The folder of a record's files, each as it was left. Raises StoreError naming the first that is not."""
        for problem in self.artifact_problems(record):
            raise StoreError(f"{problem}; remove {self.path_of(record)} and run again")
        return self.artifact_folder(record)

    def artifact_problems(self, record: Record) -> list[str]:
        """What is wrong with a record's files, a sentence each."""
        folder = self.artifact_folder(record)
        out = [f"{link}: a symbolic link" for link in links_below(folder)]
        for artifact in record.artifacts.values():
            path = folder / artifact.file
            if not path.is_file():
                out.append(f"{path}: missing")
            elif path.stat().st_size != artifact.bytes or digest_of_file(path) != artifact.sha256:
                out.append(f"{path}: altered: its SHA-256 is not the one in its record")
        return out

    def write(self, record: Record, staging: Path | None = None) -> Written:
        """Store a record and the files staged for it, never making worse what is there.

        An unfinished record beside a finished one of the same identity and code becomes an attempt; a finished
        one adds its probes, tables and files, or, if its numbers are others, both are quarantined.
        """
        path = self.path_of(record)
        try:
            before = self._present(path)
            if before is None or before.status not in FINISHED:
                return self._write_new(path, record, staging)
            if record.status not in FINISHED:
                return self._write_attempt(path, before, record)
            if why := contradiction(before, record):
                return self._quarantine_both(path, record, why)
            whole = merged(before, record)
            self._adopt(whole, staging, [f for f in whole.artifacts if f not in before.artifacts])
            if whole != before:
                write_atomically(path, encode(whole))
            return Written(path, whole)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from None

    def _present(self, path: Path) -> Record | None:
        """The record that lies there; a damaged one is moved away first."""
        try:
            return read_record(path)
        except FileNotFoundError:
            return None
        except DamagedError:
            self.quarantine(path)
            return None

    def _write_new(self, path: Path, record: Record, staging: Path | None) -> Written:
        rmtree(self.artifact_folder(record), ignore_errors=True)
        self._adopt(record, staging, list(record.artifacts))
        write_atomically(path, encode(record))
        return Written(path, record)

    def _adopt(self, record: Record, staging: Path | None, names: list[str]) -> None:
        """Move these of a record's files here; the record is written afterwards."""
        if staging is None or not staging.is_dir() or not any(staging.iterdir()):
            return
        if links := links_below(staging):
            raise StoreError(f"{links[0]}: a symbolic link among a trial's files; a store holds its own files")
        target = self.artifact_folder(record)
        if not target.exists():
            move(staging, target)
            return
        for name in names:
            file = record.artifacts[name].file
            move(staging / file, target / file)

    def _write_attempt(self, path: Path, before: Record, record: Record) -> Written:
        attempt = self.attempts / f"{path.stem}.{_stamp()}.json"
        write_atomically(attempt, encode(record))
        return Written(
            attempt, before,
            f"{path.name}: a re-run ended as {record.status!r}; the {before.status} record stays, the attempt is "
            f"kept as {attempt}",
        )

    def _quarantine_both(self, path: Path, record: Record, why: str) -> Written:
        first = self.quarantine(path)
        second = first.with_name(f"{first.name}.rerun")
        write_atomically(second, encode(record))
        return Written(
            second, None,
            f"{path.name}: a re-run of the same code in the same numerics class gives other numbers ({why}); both "
            f"records are in {first.parent}, neither counts, and the trial will run again",
        )

    def load(self) -> RecordSet:
        """All records; a file that is no record is moved to ``runs/quarantine`` and noted."""
        records = RecordSet()
        for path in self.record_files():
            try:
                records.add(read_record(path))
            except DamagedError as error:
                target = self.quarantine(path)
                records.notes.append(
                    f"damaged record {path.name} moved to {target} ({error}); its trial will run again"
                )
            except FileNotFoundError:
                continue  # another process has just moved it
        return records

    def record_files(self) -> Iterator[Path]:
        """Every file of a record, in order of names; a linked folder, which is none, by its own path."""
        if not self.records.is_dir():
            return
        for shard in sorted(os.scandir(self.records), key=lambda e: e.name):
            if shard.is_symlink():
                yield Path(shard.path)
            elif shard.is_dir():
                names = sorted(e.name for e in os.scandir(shard.path))
                yield from (Path(shard.path) / n for n in names if n.endswith(".json") and n[0] != ".")

    def quarantine(self, path: Path) -> Path:
        """Move a file out of the way, keeping it; where it lies then."""
        target = self.runs / "quarantine" / f"{path.name}.{_stamp()}"
        with suppress(FileNotFoundError):  # another process has just moved it
            move(path, target)
        return target

    def remove(self, record: Record) -> None:
        """Delete a record and its files."""
        self.path_of(record).unlink(missing_ok=True)
        rmtree(self.artifact_folder(record), ignore_errors=True)


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")

"""Whether all in a results folder is what was written: every checksum, every name, every file. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.data.build import index_entry
from harness.data.corpus import META, open_corpus
from harness.data.integrity import members
from harness.data.integrity import verify as verify_corpus
from harness.errors import DamagedError, DataError, StoreError
from harness.files import TEMPORARY, digest_of_file, has_checksum, links_below, open_sealed_file, unsealed
from harness.plugins import digest_of_sources
from harness.records.accepted import ENTRY
from harness.records.encoding import decode, file_name, read_record
from harness.records.housekeeping import LOCKS
from harness.records.plans import plan_of_file
from harness.records.record import Record
from harness.records.reference import is_checksummed, read_reference
from harness.records.store import Store
from harness.trial import Trial, digest

CHECKPOINT = "checkpoint.pt"
"""What harness.training calls its checkpoints; a workload with a loop of its own writes others."""


@dataclass(frozen=True)
class Finding:
    """Something in a results folder that a user should know."""

    path: Path
    what: str
    """A sentence: what is wrong, and the cure."""
    damaged: bool = True
    """False for a note: nothing is lost or altered, e.g. a file of an earlier version, without a checksum."""

    def __str__(self) -> str:
        return f"{'damaged' if self.damaged else 'note'}: {self.path}: {self.what}"


Part = Callable[[Store], Iterator[Finding]]


def verify(results: Path, *, data: bool = True) -> list[Finding]:
    """Read everything in a results folder through: records, artifacts, checkpoints, plans, logs, references and,
    unless ``data`` is false, corpora. Changes nothing; the damaged first."""
    store = Store(results)
    parts: list[Part] = [_folders, _links, _records, _aside, _copies, _work, _plans, _logs, _references]
    parts += [_corpora] if data else []
    return sorted((f for part in parts for f in part(store)), key=lambda f: (not f.damaged, f.path))


def _files(folder: Path) -> list[Path]:
    """Plain files at any depth; what a kill left half-written belongs to nobody."""
    found = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return sorted(p for p in found if not p.name.startswith(TEMPORARY))


def _folders(store: Store) -> Iterator[Finding]:
    """What every store has, gone whole: a store's folders are made together, and nothing here removes one."""
    made = {
        store.records: "the records in it are lost; their trials will run again with the next harness run",
        store.artifacts: "trials' files are lost; run again what left them",
        store.plans: "nothing says which records count; plan again, no trial is repeated: harness run SUITE",
    }
    if any(folder.is_dir() for folder in (*made, store.work)):
        yield from (Finding(folder, f"missing; {cure}") for folder, cure in made.items() if not folder.is_dir())
    # A ledger is what a finished run left, and a run leaves a plan.
    if store.plans.is_dir() and not _files(store.plans) and _files(store.runs / "ledgers"):
        yield Finding(store.plans, f"empty, although runs were finished here; {made[store.plans]}")


def _links(store: Store) -> Iterator[Finding]:
    for folder in (store.runs, store.root / "reference", store.data / "corpora", store.data / "index"):
        for link in links_below(folder):
            yield Finding(link, "a symbolic link; a store holds its own files: put the file itself here")


# --- records -----------------------------------------------------------------------------------------------


def _records(store: Store) -> Iterator[Finding]:
    again = "its trial will run again with the next harness run"
    known: list[Record] = []
    for path in _files(store.records):
        try:
            record = read_record(path)
        except DamagedError as error:
            yield Finding(path, f"{error}; {again}")
            continue
        known.append(record)
        if not has_checksum(path.read_bytes()):
            yield Finding(path, "a record of an earlier version, without a checksum", damaged=False)
        for problem in store.artifact_problems(record):
            yield Finding(path, f"{problem}; remove the record, {again}")
    whole = {store.artifact_folder(r): {a.file for a in r.artifacts.values()} for r in known}
    present = {path.stem for path in _files(store.records)}
    for file in _files(store.artifacts):
        folder = store.artifacts / file.relative_to(store.artifacts).parts[0]
        if folder.name not in present:
            yield Finding(file, "a file of no record here; remove it")
        elif folder in whole and file.relative_to(folder).as_posix() not in whole[folder]:
            yield Finding(file, "not among the files that its record names; remove it")


def _aside(store: Store) -> Iterator[Finding]:
    for path in _files(store.attempts):
        try:
            record = decode(path.read_bytes())
            if not path.name.startswith(file_name(record).removesuffix("json")):
                raise DamagedError(f"its content belongs to another identity, {file_name(record)}")
        except DamagedError as error:
            yield Finding(path, f"{error}; remove it: a finished record of its trial is kept")
    for path in _files(store.runs / "quarantine"):
        yield Finding(path, "in quarantine since a command met it; it counts for nothing", damaged=False)


def _copies(store: Store) -> Iterator[Finding]:
    """What travelled here and is read by trials: plug-ins' files, and artifacts that a round brought."""
    for folder in _subfolders(store.runs / "plugins"):
        content = {f.relative_to(folder).as_posix(): f.read_bytes() for f in _files(folder) if f.suffix == ".py"}
        if digest_of_sources(content) != folder.name:
            yield Finding(folder, "not the copy of a plug-in that its name says; remove it: it is copied again")
    read: dict[str, set[str]] = {}
    for path in _files(store.records):
        with suppress(DamagedError):
            record = read_record(path)
            for name, identity in record.trial.needs.items():
                read.setdefault(identity, set()).add(record.needs.get(name, ""))
    for folder in _subfolders(store.runs / "needed"):
        # What no trial has read yet is compared with its round before one does.
        known = read.get(folder.name.partition(".")[0])
        files = {f.relative_to(folder).as_posix(): digest_of_file(f) for f in _files(folder)}
        if known and digest(files) not in known:
            yield Finding(folder, "not what the trials here read; remove it and execute the round again")


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.is_dir() and not p.name.startswith(TEMPORARY))


def _work(store: Store) -> Iterator[Finding]:
    """Checkpoints, and results whose runner was killed before it could store them."""
    for folder in sorted(p for p in store.work.glob("*") if p.is_dir() and p.name != LOCKS):
        path = folder / CHECKPOINT
        if path.is_file():
            try:
                with open_sealed_file(path) as (label, _):
                    if label.split(" ")[0] != folder.name:
                        raise DamagedError(f"it is a checkpoint of another trial, {label.split(' ')[0]}")
            except DamagedError as error:
                yield Finding(path, f"{error}; its trial will start over")
        result = folder / "result.json"
        if result.is_file():
            try:
                if (identity := decode(result.read_bytes()).identity) != folder.name:
                    raise DamagedError(f"it is the result of another trial, {identity}")
            except DamagedError as error:
                yield Finding(result, f"{error}; its trial will run again")


# --- what is said of records -------------------------------------------------------------------------------


def _plans(store: Store) -> Iterator[Finding]:
    for path in _files(store.plans):
        try:
            plan = plan_of_file(path)
        except DamagedError as error:
            yield Finding(path, f"{error}; plan again, no trial is repeated: harness run SUITE")
            continue
        if not has_checksum(path.read_bytes()):
            yield Finding(path, "a plan of an earlier version, without a checksum", damaged=False)
        for entry in plan["rows"]:
            identity = Trial.model_validate(entry["planned"]["trial"]).identity
            record = store.records / identity[:2] / f"{identity}.{entry.get('code')}.json"
            if entry.get("state") == "done" and not record.is_file():
                yield Finding(record, f"missing, although {path.name} counts it; its trial will run again")


def _logs(store: Store) -> Iterator[Finding]:
    """The logs of the committed part, line by line."""
    for path in [store.root / "accepted.jsonl", *sorted((store.root / "reference").glob("*/history.txt"))]:
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        for number, line in enumerate(lines, 1):
            try:
                unsealed(line, old=ENTRY | {"suite"})
            except DamagedError as error:
                yield Finding(path, f"line {number}: {error}; restore it: git checkout -- {path}")
        if not all(map(has_checksum, lines)):
            yield Finding(path, "lines of an earlier version, without a checksum", damaged=False)


def _references(store: Store) -> Iterator[Finding]:
    for path in sorted((store.root / "reference").glob("*/*.jsonl")):
        try:
            read_reference(store, path.stem, path.parent.name)
        except StoreError as error:
            yield Finding(path, str(error).removeprefix(f"{path}:"))
            continue
        if not is_checksummed(path):
            yield Finding(path, "a reference of an earlier version, without checksums", damaged=False)


# --- data --------------------------------------------------------------------------------------------------


def _corpora(store: Store) -> Iterator[Finding]:
    for path in _files(store.data / "index"):
        try:
            index_entry(path)
        except DamagedError as error:
            yield Finding(path, f"{error}; its data set will be built again")
    for folder in sorted((store.data / "corpora").glob("*")):
        try:
            corpus = open_corpus(store.data, folder.name)
            verify_corpus(corpus)
        except DataError as error:
            yield Finding(folder, str(error))
            continue
        if not has_checksum((folder / META).read_bytes()):
            yield Finding(folder / META, "of an earlier version, without a checksum", damaged=False)
        for file in _files(folder):
            if file.relative_to(folder).as_posix() not in members(corpus.meta):
                yield Finding(file, "not a file of this corpus; remove it")

"""Records and artifacts on disk: written once, whole or not at all; and their public view as a DataFrame.

<results>/runs/records/ab/<identity>.<code>.json   one record; <code> digests fingerprint and numerics class
<results>/runs/artifacts/<identity>.<code>/        its files
<results>/runs/work/<identity>/                    checkpoints of a trial in flight
<results>/runs/plans/<suite>.<profile>.json        which trials a suite planned, under which labels
<results>/accepted.jsonl                           stale records carried over, with the reason (committed)
<results>/reference/<profile>/<suite>.jsonl        committed runs
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import StoreError
from harness.outcome import Curve, Table
from harness.records.record import Planned, Record
from harness.trial import digest

if TYPE_CHECKING:
    import pandas as pd

REFERENCE_CURVE_POINTS = 32
"""Points kept of a curve in a committed reference."""
REFERENCE_DIGITS = 5
"""Significant digits of curves and probe values there; metrics keep all of theirs."""


@dataclass(frozen=True)
class Row:
    """A planned trial and its record, if it has one that counts."""

    planned: Planned
    record: Record | None


@dataclass
class Shelf:
    """All records of a store in memory."""

    by_identity: dict[str, list[Record]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Quarantined files and the like: to be shown to the user."""

    def add(self, record: Record) -> None:
        """Later records of the same code replace earlier ones."""
        kept = [r for r in self.by_identity.get(record.identity, []) if code_of(r) != code_of(record)]
        self.by_identity[record.identity] = [*kept, record]

    def __len__(self) -> int:
        return sum(len(v) for v in self.by_identity.values())


def code_of(record: Record) -> str:
    """Short digest of what produced a record: fingerprint and numerics class."""
    return digest([record.fingerprint, record.numerics_class])[:10]


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside, sync, rename: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as out:
            # mkstemp's files are private; records are as readable as any file here.
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(handle, 0o666 & ~mask)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class Store:
    """The results folder. Raises StoreError if it cannot be used."""

    def __init__(self, root: Path | str = "results") -> None:
        self.root = Path(root)
        self.runs = self.root / "runs"
        self.records = self.runs / "records"
        self.artifacts = self.runs / "artifacts"
        self.work = self.runs / "work"
        self.data = self.root / "data"
        self.reports = self.root / "report"
        self.accepted_file = self.root / "accepted.jsonl"

    def prepare(self) -> None:
        """Make the folders and see that they can be written."""
        try:
            for folder in (self.records, self.artifacts, self.work, self.data):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            raise StoreError(
                f"results folder {str(self.root)!r} cannot be written: {error.strerror}. "
                "Give another with --results FOLDER, or change its permissions."
            ) from None

    # --- records -------------------------------------------------------------------------------------------

    def path_of(self, record: Record) -> Path:
        return self.records / record.identity[:2] / f"{record.identity}.{code_of(record)}.json"

    def artifact_folder(self, record: Record) -> Path:
        return self.artifacts / f"{record.identity}.{code_of(record)}"

    def write(self, record: Record, staging: Path | None = None) -> Path:
        """Store a record (and the files staged for it); returns the record's path."""
        if staging is not None and staging.is_dir() and any(staging.iterdir()):
            target = self.artifact_folder(record)
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(str(staging), str(target))
        path = self.path_of(record)
        text = json.dumps(record.model_dump(mode="json"), allow_nan=False, separators=(",", ":"))
        try:
            write_atomically(path, text.encode())
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from None
        return path

    def load(self) -> Shelf:
        """All records; a file that is no record is moved to ``runs/quarantine`` and noted."""
        shelf = Shelf()
        for path in self._record_files():
            try:
                record = Record.model_validate_json(path.read_bytes())
                if not path.name.startswith(record.identity):
                    raise ValueError("its content belongs to another identity")
            except (ValidationError, ValueError) as error:
                shelf.notes.append(self._quarantine(path, error))
                continue
            shelf.add(record)
        return shelf

    def _record_files(self) -> Iterator[Path]:
        if not self.records.is_dir():
            return
        for shard in sorted(os.scandir(self.records), key=lambda e: e.name):
            if shard.is_dir():
                names = sorted(e.name for e in os.scandir(shard.path))
                yield from (Path(shard.path) / n for n in names if n.endswith(".json") and n[0] != ".")

    def _quarantine(self, path: Path, error: Exception) -> str:
        folder = self.runs / "quarantine"
        folder.mkdir(exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        target = folder / f"{path.name}.{stamp}"
        path.replace(target)
        reason = str(error).splitlines()[0]
        return f"damaged record {path.name} moved to {target} ({reason}); its trial will run again"

    # --- plans ---------------------------------------------------------------------------------------------

    def plan_path(self, suite: str, profile: str) -> Path:
        return self.runs / "plans" / f"{suite}.{profile}.json"

    def write_plan(self, suite: str, profile: str, content: Mapping[str, Any]) -> None:
        """Remember which trials a suite planned, and under which labels."""
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        write_atomically(self.plan_path(suite, profile), text.encode())

    def read_plan(self, suite: str, profile: str) -> dict[str, Any] | None:
        """What write_plan kept, or None."""
        path = self.plan_path(suite, profile)
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_bytes())
        except ValueError:
            path.unlink()
            return None

    def planned_profiles(self, profile: str) -> list[str]:
        """Suites with a stored plan at this profile."""
        return sorted(
            p.name.removesuffix(f".{profile}.json") for p in (self.runs / "plans").glob(f"*.{profile}.json")
        )

    # --- accepted ------------------------------------------------------------------------------------------

    def accept(self, records: Iterable[Record], current: Mapping[str, Mapping[str, str]], reason: str) -> int:
        """Append to the log that these stale records count for the current code; returns how many."""
        lines = [
            json.dumps(
                {
                    "identity": r.identity,
                    "code": code_of(r),
                    "for": digest(current[r.identity])[:16],
                    "reason": reason,
                    "at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
            for r in records
        ]
        if lines:
            self.root.mkdir(parents=True, exist_ok=True)
            with self.accepted_file.open("a", encoding="utf-8") as log:
                log.write("\n".join(lines) + "\n")
                log.flush()
                os.fsync(log.fileno())
        return len(lines)

    def accepted(self) -> dict[tuple[str, str, str], str]:
        """(identity, code of the record, digest of the fingerprint it stands for) -> reason."""
        out = {}
        if self.accepted_file.is_file():
            for number, line in enumerate(self.accepted_file.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    entry = json.loads(line)
                    out[entry["identity"], entry["code"], entry["for"]] = entry["reason"]
                except (ValueError, KeyError):
                    raise StoreError(f"{self.accepted_file}:{number}: not an entry of the accept log") from None
        return out

    def remove(self, record: Record) -> None:
        """Delete a record and its files."""
        self.path_of(record).unlink(missing_ok=True)
        shutil.rmtree(self.artifact_folder(record), ignore_errors=True)

    # --- reference -----------------------------------------------------------------------------------------

    def reference_path(self, suite: str, name: str) -> Path:
        return self.root / "reference" / name / f"{suite}.jsonl"

    def write_reference(self, suite: str, name: str, plan: Mapping[str, Any], rows: Iterable[Row]) -> Path:
        """Commit-ready copy of a suite's run: labels and records, curves thinned, shared parts stored once."""
        shared: dict[str, Any] = {}

        def share(value: Any) -> str:
            key = digest(value)[:12]
            shared[key] = value
            return key

        wanted = plan["suite"].get("probes", {})
        lines = []
        for row in rows:
            if row.record is None:
                continue
            record = row.record.model_dump(mode="json", exclude_defaults=True)
            record["trial"].pop("config")
            record["environment"] = share(record.get("environment", {}))
            record["fingerprint"] = share(record.get("fingerprint", {}))
            record["curves"] = {
                name: {"steps": c.steps, "values": c.values} for name, c in _thinned(row.record.curves).items()
            }
            # Columns such as step, matrix and functional are the same in many trials: each is stored once.
            record["probes"] = {
                name: {
                    "columns": {c: share([_short(r[i]) for r in t.rows]) for i, c in enumerate(t.columns)},
                    "about": share(_short(t.about)),
                }
                for name, t in row.record.probes.items()
                if name in wanted
            }
            record["seconds"] = {k: round(v, 3) for k, v in row.record.seconds.items()}
            planned = row.planned.model_dump(mode="json", exclude_defaults=True)
            for key in ("suite", "profile", "probes"):
                planned.pop(key, None)
            planned["trial"]["config"] = share(planned["trial"]["config"])
            lines.append(json.dumps({"planned": planned, "record": record}, allow_nan=False, separators=(",", ":")))
        header = {"plan": {k: v for k, v in plan.items() if k != "rows"}, "shared": shared}
        text = "\n".join([json.dumps(header, allow_nan=False, separators=(",", ":")), *lines]) + "\n"
        path = self.reference_path(suite, name)
        write_atomically(path, text.encode())
        return path

    def read_reference(self, suite: str, name: str) -> tuple[dict[str, Any], list[Row]]:
        """(plan, rows) as committed. Raises StoreError naming file and line if it is damaged."""
        path = self.reference_path(suite, name)
        if not path.is_file():
            have = sorted(p.stem for p in path.parent.glob("*.jsonl"))
            raise StoreError(f"{path}: no committed reference; there are {have or 'none'} for {name!r}")
        number = 1  # the line that a message names
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            header = json.loads(lines[0])
            plan, shared = header["plan"], header["shared"]
            rows = []
            for number, line in enumerate(lines[1:], 2):  # noqa: B007
                entry = json.loads(line)
                planned, record = entry["planned"], entry["record"]
                planned["trial"]["config"] = shared[planned["trial"]["config"]]
                record["trial"] = planned["trial"]
                record["environment"] = shared[record["environment"]]
                record["fingerprint"] = shared[record["fingerprint"]]
                for name, table in record["probes"].items():
                    columns = {c: shared[key] for c, key in table["columns"].items()}
                    record["probes"][name] = {
                        "columns": list(columns),
                        "about": shared[table["about"]],
                        "rows": [list(r) for r in zip(*columns.values(), strict=True)],
                    }
                planned.update(suite=plan["suite"]["name"], profile=plan["suite"]["profile"])
                rows.append(Row(Planned.model_validate(planned), Record.model_validate(record)))
        except (ValueError, KeyError, IndexError) as error:
            raise StoreError(f"{path}:{number}: damaged reference: {str(error).splitlines()[0]}") from None
        return plan, rows


def _short(value: Any) -> Any:
    """Floats at the reference's digits, all the way down."""
    if isinstance(value, float):
        return float(f"{value:.{REFERENCE_DIGITS}g}")
    if isinstance(value, Mapping):
        return {k: _short(v) for k, v in value.items()}
    return [_short(v) for v in value] if isinstance(value, list) else value


def _thinned(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    out = {}
    for name, curve in curves.items():
        n = len(curve.steps)
        keep = (
            sorted({round(i * (n - 1) / (REFERENCE_CURVE_POINTS - 1)) for i in range(REFERENCE_CURVE_POINTS)})
            if (n > REFERENCE_CURVE_POINTS)
            else range(n)
        )
        out[name] = Curve(steps=[curve.steps[i] for i in keep], values=_short([curve.values[i] for i in keep]))
    return out


# --- the public view ---------------------------------------------------------------------------------------


def trials_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """One row a planned trial that has a record.

    Columns: suite, profile, arm, role, seed, status, reason, identity, numerics_class, selected, at_edge,
    diverged_step; one column an axis (its name), one a hyperparameter (its config path), one a metric (its
    name; NaN where not finite), ``seconds_<clock>``.
    """
    import pandas as pd

    out = []
    for row in rows:
        p, r = row.planned, row.record
        if r is None:
            continue
        out.append(
            {
                "suite": p.suite,
                "profile": p.profile,
                "arm": p.arm,
                "role": p.role,
                "seed": p.trial.seed,
                "status": r.status,
                "reason": r.reason,
                "identity": r.identity,
                "numerics_class": r.numerics_class,
                "selected": p.selected,
                "at_edge": p.at_edge,
                "diverged_step": r.diverged_step,
                **p.cell,
                **p.hyperparameters,
                **{f"seconds_{k}": v for k, v in r.seconds.items()},
                **{k: float("nan") if v is None else v for k, v in r.metrics.items()},
            }
        )
    return pd.DataFrame(out)


def curves_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Long frame of the training curves: identity, suite, arm, axes, role, seed, curve, step, value."""
    import pandas as pd

    frames = []
    for row in rows:
        p, r = row.planned, row.record
        for name, curve in (r.curves if r else {}).items():
            frames.append(
                pd.DataFrame(
                    {
                        "identity": r.identity if r else "",
                        "suite": p.suite,
                        "arm": p.arm,
                        "role": p.role,
                        "seed": p.trial.seed,
                        **{k: [v] * len(curve.steps) for k, v in {**p.cell, **p.hyperparameters}.items()},
                        "curve": name,
                        "step": curve.steps,
                        "value": [float("nan") if v is None else v for v in curve.values],
                    }
                )
            )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def probes_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Long frame of what probes measured: identity, suite, arm, axes, role, seed, probe, then its columns."""
    import pandas as pd

    frames = []
    for row in rows:
        p, r = row.planned, row.record
        for name, table in (r.probes if r else {}).items():
            frame = pd.DataFrame(table.rows, columns=table.columns)
            if kept := _singular_values(table):
                frame = pd.concat([frame, pd.DataFrame(kept)], ignore_index=True)
            labels: dict[str, Any] = {
                "identity": r.identity if r else "",
                "suite": p.suite,
                "arm": p.arm,
                "role": p.role,
                "seed": p.trial.seed,
                "probe": name,
                **{k: r.metrics[k] for k in ("model_width", "parameters") if r and k in r.metrics},
                **p.cell,
                **p.hyperparameters,
            }
            clash = [c for c in labels if c in frame.columns]
            frames.append(frame.rename(columns={c: f"{name}_{c}" for c in clash}).assign(**labels))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _singular_values(table: Table) -> list[dict[str, Any]]:
    """The spectra that a probe kept beside its functionals, as rows: one a singular value, ``index`` its rank."""
    return [
        {
            "step": int(step),
            "matrix": matrix,
            "kind": "weight",
            "functional": "singular_value",
            "index": i,
            "value": v,
        }
        for step, matrices in table.about.get("spectra", {}).items()
        for matrix, values in matrices.items()
        for i, v in enumerate(values)
    ]


def load_rows(
    store: Store, suite: str, profile: str, shelf: Shelf | None = None
) -> tuple[dict[str, Any], list[Row]]:
    """(plan, rows) of a suite's last plan in this store. Raises StoreError if it was never planned here."""
    plan = store.read_plan(suite, profile)
    if plan is None:
        raise StoreError(
            f"{store.root}: no run of suite {suite!r} at profile {profile!r}; "
            f"run: harness run {suite} profile={profile}"
        )
    shelf = shelf or store.load()
    rows = []
    for entry in plan["rows"]:
        planned = Planned.model_validate(entry["planned"])
        records = shelf.by_identity.get(planned.trial.identity, [])
        chosen = [r for r in records if code_of(r) == entry.get("code")]
        rows.append(Row(planned, chosen[0] if chosen else None))
    return plan, rows


def load_trials(
    suite: str, profile: str = "cpu", results: Path | str = "results", *, reference: str = ""
) -> pd.DataFrame:
    """The records of a suite as a DataFrame: the entry for anyone's own analysis (see trials_frame).

    ``reference`` names a committed reference (e.g. "cpu") to read instead of the runs.
    """
    store = Store(results)
    _, rows = store.read_reference(suite, reference) if reference else load_rows(store, suite, profile)
    return trials_frame(rows)

"""Committed runs: labels and records of a suite, one line each: ``<results>/reference/<name>/<suite>.jsonl``.

The first line holds the plan, what the lines share, their number and a digest of them all; each line begins
with its own checksum. Curves are thinned and measured values rounded; metrics keep all of their digits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness import sources
from harness.errors import DamagedError, StoreError
from harness.files import has_checksum, sealed, unsealed, write_atomically
from harness.outcome import Curve, Table
from harness.records.encoding import WITHOUT_CHECKSUM, migrated, validated
from harness.records.record import SCHEMA, Planned, Record, Row
from harness.records.store import Store
from harness.trial import digest

CURVE_POINTS = 32
"""Points kept of a curve."""
DIGITS = 5
"""Significant digits of curves and probe values; metrics and tables keep all of theirs."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names of references: one folder, nowhere else."""

Share = Callable[[Any], str]
"""Puts a value among what the lines share; its key there."""


def reference_path(store: Store, suite: str, name: str) -> Path:
    """The file of a suite's committed run. Raises StoreError where the name would lead elsewhere."""
    if not NAME.fullmatch(name):
        raise StoreError(
            f"reference {name!r}: give the name of a folder in {store.root / 'reference'}: letters, digits, '-', "
            "'_' and '.', beginning with a letter or digit"
        )
    return store.root / "reference" / name / f"{suite}.jsonl"


def reference_profiles(store: Store) -> list[str]:
    """Profiles that the store has a committed run of."""
    return sorted({p.parent.name for p in (store.root / "reference").glob("*/*.jsonl")})


def reference_store(results: Path, profile: str) -> Store:
    """The store with the committed runs of a profile: this one's, else those that come with the source.

    Raises StoreError naming the profiles that there are, where neither has any.
    """
    stores = [Store(results), Store(sources.shipped("results"))]
    for store in stores:
        if profile in reference_profiles(store):
            return store
    known = sorted({p for store in stores for p in reference_profiles(store)})
    raise StoreError(
        f"{results}: no committed reference at profile {profile!r}; there is {', '.join(known) or 'none'}"
        + (f": harness report profile={known[0]} --reference" if known else "; it comes with a clone of the source")
    )


# --- writing -----------------------------------------------------------------------------------------------


def write_reference(
    store: Store,
    suite: str,
    name: str,
    plan: Mapping[str, Any],
    rows: Iterable[Row],
    tables: Collection[str] = (),
) -> Path:
    """Commit-ready copy of a suite's run: labels and records, curves thinned, shared parts stored once.

    Kept are the probes that the suite wants, but for those of tuning trials, which nothing reads; the tables whose
    names its claims and figures mention, and these ``tables``.
    """
    shared: dict[str, Any] = {}

    def share(value: Any) -> str:
        key = digest(value)[:12]
        shared[key] = value
        return key

    resolved = plan["suite"]
    words = {*_strings(resolved.get("claims", [])), *_strings(resolved.get("figures", [])), *tables}
    probes = resolved.get("probes", {})
    lines = []
    for row in rows:
        if row.record is None:
            continue
        planned = row.planned.model_dump(mode="json", exclude_defaults=True)
        for key in ("suite", "profile", "probes"):
            planned.pop(key, None)
        planned["trial"]["config"] = share(planned["trial"]["config"])
        wanted = {} if row.planned.role == "tuning" else probes
        record = _record_fields(row.record, wanted, words, share)
        lines.append(sealed({"planned": planned, "record": record}).encode())
    header = {
        "schema": SCHEMA,
        "reference": name,
        "rows": len(lines),
        "lines": _digest(lines),
        "plan": {k: v for k, v in plan.items() if k != "rows"},
        "shared": shared,
    }
    path = reference_path(store, suite, name)
    write_atomically(path, b"".join([sealed(header).encode(), *lines]))
    return path


def _digest(lines: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _record_fields(record: Record, probes: Mapping[str, Any], words: set[str], share: Share) -> dict[str, Any]:
    out = record.model_dump(mode="json", exclude_defaults=True)
    del out["trial"]  # the planned trial is the same
    out["environment"] = share(out.get("environment", {}))
    out["fingerprint"] = share(out.get("fingerprint", {}))
    out["curves"] = {k: c.model_dump(mode="json") for k, c in _thinned(record.curves).items()}
    out["probes"] = {k: _shared_table(t, share, short) for k, t in record.probes.items() if k in probes}
    out["tables"] = {k: _shared_table(t, share, lambda v: v) for k, t in record.tables.items() if k in words}
    out["seconds"] = {k: round(v, 3) for k, v in record.seconds.items()}
    return out


def as_kept(record: Record, probes: Collection[str], tables: Collection[str]) -> Record:
    """The record with what a reference keeps of it, at the reference's digits: to be held against one."""
    return record.model_copy(
        update={
            "curves": _thinned(record.curves),
            "probes": {k: _short_table(t) for k, t in record.probes.items() if k in probes},
            "tables": {k: t for k, t in record.tables.items() if k in tables},
        }
    )


def _short_table(table: Table) -> Table:
    return Table(columns=table.columns, rows=short(table.rows), about=short(table.about))


def _shared_table(table: Table, share: Share, rounded: Callable[[Any], Any]) -> dict[str, Any]:
    # Columns such as step, matrix and functional are the same in many trials: each is stored once.
    columns = {c: share(packed(rounded([r[i] for r in table.rows]))) for i, c in enumerate(table.columns)}
    return {"columns": columns, "about": share(rounded(table.about))}


def packed(column: list[Any]) -> list[Any] | dict[str, Any]:
    """A column; where most of it is None, as in tables of several kinds of rows, length and runs of the rest."""
    if 2 * column.count(None) <= len(column):
        return column
    runs: list[list[Any]] = []
    for i, value in enumerate(column):
        if value is None:
            continue
        if runs and i == runs[-1][0] + len(runs[-1][1]):
            runs[-1][1].append(value)
        else:
            runs.append([i, [value]])
    return {"length": len(column), "runs": runs}


def unpacked(column: list[Any] | dict[str, Any]) -> list[Any]:
    """The column that was packed."""
    if isinstance(column, list):
        return column
    out: list[Any] = [None] * column["length"]
    for start, values in column["runs"]:
        out[start : start + len(values)] = values
    return out


def _strings(value: Any) -> set[str]:
    """Every text in a value, all the way down."""
    if isinstance(value, Mapping):
        return set().union(*map(_strings, value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*map(_strings, value))
    return {value} if isinstance(value, str) else set()


def short(value: Any) -> Any:
    """Floats at the reference's digits, all the way down."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {k: short(v) for k, v in value.items()}
    return [short(v) for v in value] if isinstance(value, list) else value


def _thinned(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    out = {}
    for name, curve in curves.items():
        last = len(curve.steps) - 1
        keep = sorted({round(i * last / (CURVE_POINTS - 1)) for i in range(CURVE_POINTS)} if last >= 0 else ())
        out[name] = Curve(steps=[curve.steps[i] for i in keep], values=short([curve.values[i] for i in keep]))
    return out


# --- reading -----------------------------------------------------------------------------------------------


def read_reference(store: Store, suite: str, name: str) -> tuple[dict[str, Any], list[Row]]:
    """(plan, rows) as committed. Raises StoreError naming file and line if it is damaged."""
    path = reference_path(store, suite, name)
    if not path.is_file():
        have = sorted(p.stem for p in path.parent.glob("*.jsonl"))
        raise StoreError(f"{path}: no committed reference; there are {have or 'none'} for {name!r}")
    lines = path.read_bytes().splitlines(keepends=True)
    number = 1  # the line that a message names
    try:
        header = _header(lines, suite, name)
        rows = []
        for number, line in enumerate(lines[1:], 2):  # noqa: B007
            rows.append(_row(line, header))
        # Last, so that a damaged line is named by its own checksum.
        if header["schema"] > WITHOUT_CHECKSUM and _digest(lines[1:]) != header["lines"]:
            raise DamagedError("its rows are not those that were written, or not in their order")
    except (DamagedError, ValidationError, LookupError, TypeError, ValueError, AttributeError) as error:
        why = error if isinstance(error, DamagedError) else f"{type(error).__name__}: {error}"
        raise StoreError(
            f"{path}:{number}: damaged reference: {str(why).splitlines()[0]}; restore it: git checkout -- {path}"
        ) from None
    return header["plan"], rows


def is_checksummed(path: Path) -> bool:
    """Whether a reference was written with checksums; those of schema 1 were not."""
    with path.open("rb") as file:
        return has_checksum(file.readline())


def _header(lines: list[bytes], suite: str, name: str) -> dict[str, Any]:
    """The first line, checked against the others. A reference of schema 1 has plan and shared parts alone."""
    if not lines:
        raise DamagedError("it is empty")
    header = unsealed(lines[0], old=("plan", "shared"))
    if not has_checksum(lines[0]):
        header["schema"] = WITHOUT_CHECKSUM
    else:
        migrated({}, header["schema"])
        if header["rows"] != len(lines) - 1:
            raise DamagedError(f"it has {len(lines) - 1} rows, {header['rows']} were written")
        if header["reference"] != name:
            raise DamagedError(f"its content is reference {header['reference']!r}")
    if header["plan"]["suite"]["name"] != suite:
        raise DamagedError(f"its content is suite {header['plan']['suite']['name']!r}")
    return header


def _row(line: bytes, header: Mapping[str, Any]) -> Row:
    shared, suite = header["shared"], header["plan"]["suite"]
    entry = unsealed(line, old=("planned", "record") if header["schema"] == WITHOUT_CHECKSUM else ())
    planned, fields = entry["planned"], entry["record"]
    planned["trial"]["config"] = shared[planned["trial"]["config"]]
    planned.update(suite=suite["name"], profile=suite["profile"])
    fields["trial"] = planned["trial"]
    fields["environment"] = shared[fields["environment"]]
    fields["fingerprint"] = shared[fields["fingerprint"]]
    for kind in ("probes", "tables"):
        fields[kind] = {name: _table(table, shared) for name, table in fields.get(kind, {}).items()}
    return Row(Planned.model_validate(planned), validated(migrated(fields, header["schema"])))


def _table(table: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    columns = {c: unpacked(shared[key]) for c, key in table["columns"].items()}
    rows = [list(r) for r in zip(*columns.values(), strict=True)]
    return {"columns": list(columns), "about": shared[table["about"]], "rows": rows}

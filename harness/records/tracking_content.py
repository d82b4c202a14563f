"""What a tracker's run holds of a record: plain data, made without the tracker."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.outcome import Table
from harness.records.record import Planned, Record, Row, code_of

KEY, DIGEST, COMPLETE = "harness.key", "harness.digest", "harness.complete"
"""Tags: which record a run mirrors, a digest of its content, and (set last) that all of it is there."""
TEXT_CHARACTERS = 5000
"""Longest parameter or tag; MLflow's own limits are 6000 and 8000."""
NAME_CHARACTERS = 250
STATUS = {"completed": "FINISHED", "diverged": "FINISHED", "skipped": "KILLED"}
"""A record's status -> MLflow's; every other is FAILED."""


@dataclass
class Content:
    """One MLflow run: plain data, made without MLflow."""

    key: str
    digest: str
    name: str
    labels: dict[str, str]
    """Tags that may change later (arm, role, selected): kept up to date."""
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[tuple[str, float, int, int]]
    """(name, value, milliseconds since 1970, step)"""
    status: str
    start: int
    end: int


def contents(rows: Iterable[Row]) -> dict[str, list[Content]]:
    """Suite -> its runs. Rows of one suite that share a record become one run with all their labels."""
    grouped: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.record is not None:
            grouped.setdefault((row.planned.suite, row.record.identity, code_of(row.record)), []).append(row)
    out: dict[str, list[Content]] = {}
    for (suite, identity, code), group in grouped.items():
        out.setdefault(suite, []).append(_content(f"{identity}.{code}", group))
    return out


def _content(key: str, rows: Sequence[Row]) -> Content:
    record = rows[0].record
    assert record is not None
    planned = [row.planned for row in rows]
    start = _milliseconds(record.started)
    end = start + round(1000 * record.seconds.get("total", 0.0))
    metrics, tags = _metrics(record, start, end)
    git = record.environment.get("git") or {}
    tags |= {
        KEY: key,
        DIGEST: hashlib.sha256(record.model_dump_json().encode()).hexdigest()[:16],
        "identity": record.identity,
        "workload": record.trial.workload,
        "seed": str(record.trial.seed),
        "status": record.status,
        "diverged": str(record.status == "diverged").lower(),
        "numerics_class": record.numerics_class,
        "resumed": str(record.resumed),
        "device": str(record.environment.get("device", "")),
        "git_sha": str(git.get("sha", "")),
        "git_dirty": str(git.get("dirty", "")).lower(),
        "mlflow.source.git.commit": str(git.get("sha", "")),
        "mlflow.source.name": "harness",
        "mlflow.source.type": "JOB",
    }
    if record.reason:
        tags["reason"] = record.reason[-TEXT_CHARACTERS:]
    if record.diverged_step is not None:
        tags["diverged_step"] = str(record.diverged_step)
    labels = _labels(planned)
    name = " ".join([labels["arm"], *(f"{k}={v}" for k, v in planned[0].cell.items()), f"seed={record.trial.seed}"])
    params = {
        clean_name(path): value[:TEXT_CHARACTERS]
        for path, value in [*flatten(record.trial.config), ("data", record.trial.data), ("seed", tags["seed"])]
    }
    return Content(
        key=key, digest=tags[DIGEST], name=name, labels=labels, tags={k: v for k, v in tags.items() if v},
        params=params, metrics=metrics, status=STATUS.get(record.status, "FAILED"), start=start, end=end,
    )


def _labels(planned: Sequence[Planned]) -> dict[str, str]:
    def joined(values: Iterable[Any]) -> str:
        return ", ".join(sorted({str(v) for v in values}))[:TEXT_CHARACTERS]

    labels = {
        "suite": planned[0].suite,
        "profile": joined(p.profile for p in planned),
        "arm": joined(p.arm for p in planned),
        "role": joined(p.role for p in planned),
        "selected": str(any(p.selected for p in planned)).lower(),
        "at_edge": str(any(p.at_edge for p in planned)).lower(),
    }
    for axis in sorted({axis for p in planned for axis in p.cell}):
        labels[clean_name(f"axis.{axis}")] = joined(p.cell[axis] for p in planned if axis in p.cell)
    return labels


def _metrics(record: Record, start: int, end: int) -> tuple[list[tuple[str, float, int, int]], dict[str, str]]:
    """Finite values as metrics; the names of the others as tags, since databases keep no infinity."""
    out, missing, gaps = [], [], []
    for name, value in record.metrics.items():
        if value is None:
            missing.append(name)
        else:
            out.append((clean_name(name), value, end, 0))
    for name, seconds in record.seconds.items():
        out.append((clean_name(f"seconds/{name}"), seconds, end, 0))
    for name, table in record.probes.items():
        for column, value in summarise(table).items():
            out.append((clean_name(f"probes/{name}/{column}"), value, end, 0))
    for name, curve in record.curves.items():
        points = list(zip(curve.steps, curve.values, strict=True))
        for n, (step, value) in enumerate(points, 1):
            if value is not None:
                out.append((clean_name(f"curves/{name}"), value, start + (end - start) * n // len(points), step))
        lost = [step for step, value in points if value is None]
        if lost:
            gaps.append(f"{name}: {len(lost)} points from step {lost[0]}")
    tags = {"non_finite": ", ".join(missing), "non_finite_curves": "; ".join(gaps)}
    return out, {k: v[:TEXT_CHARACTERS] for k, v in tags.items() if v}


def summarise(table: Table) -> dict[str, float]:
    """Mean of each numeric column over the rows of the last step (over all rows where there is no step)."""
    rows = table.rows
    if "step" in table.columns and rows:
        at = table.columns.index("step")
        last = max(row[at] for row in rows)
        rows = [row for row in rows if row[at] == last]
    out = {}
    for n, column in enumerate(table.columns):
        values = [r[n] for r in rows if isinstance(r[n], (int, float)) and not isinstance(r[n], bool)]
        if values and column != "step":
            out[column] = sum(values) / len(values)
    return out


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(path, value as text) of every leaf, e.g. ("optimizer.lr", "0.01")."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def clean_name(text: str) -> str:
    """A name that MLflow accepts: word characters and ``. - : /`` and space, no odd path."""
    clean = posixpath.normpath(re.sub(r"[^\w.\- :/]", "_", text)).lstrip("/.")
    return clean[:NAME_CHARACTERS] or "_"


def _milliseconds(started: str) -> int:
    try:
        return round(1000 * datetime.fromisoformat(started).timestamp())
    except ValueError:
        return 0

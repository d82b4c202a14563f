"""Two finished records of one identity, code and numerics class: they must say the same, bit for bit."""

from __future__ import annotations

import re

from harness.records.record import Record

CLOCKS = re.compile(r"second|memory")
"""Metrics whose name has one of these depend on the machine's mood: they may differ."""


def contradiction(before: Record, after: Record) -> str:
    """The first number in which they differ, in words; empty if they agree.

    Compared are status, metrics other than clocks, and all points of all curves; tables and files where both have
    them.
    """
    if (before.status, before.diverged_step) != (after.status, after.diverged_step):
        return f"{_outcome(before)} before, {_outcome(after)} now"
    for name in sorted({*before.metrics, *after.metrics}):
        a, b = (r.metrics.get(name, "absent") for r in (before, after))
        if a != b and not CLOCKS.search(name):
            return f"{name} {a} before, {b} now"
    for name in sorted({*before.curves, *after.curves}):
        if before.curves.get(name) != after.curves.get(name):
            return f"curve {name}"
    for name in sorted({*before.tables} & {*after.tables}):
        if before.tables[name] != after.tables[name]:
            return f"table {name}"
    for name in sorted({*before.artifacts} & {*after.artifacts}):
        if before.artifacts[name].sha256 != after.artifacts[name].sha256:
            return f"file {after.artifacts[name].file}"
    return ""


def _outcome(record: Record) -> str:
    return record.status if record.diverged_step is None else f"{record.status} at step {record.diverged_step}"


def merged(before: Record, after: Record) -> Record:
    """The earlier record with what the later one adds: probes (the later settings), tables, files, notes."""
    return before.model_copy(
        update={
            "probes": {**before.probes, **after.probes},
            "tables": {**after.tables, **before.tables},
            "artifacts": {**after.artifacts, **before.artifacts},
            "notes": [*before.notes, *(n for n in after.notes if n not in before.notes)],
        }
    )

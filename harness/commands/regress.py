"""The present records against the committed reference: what changed, by how much, and whether it is worse."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.analysis.claims import load_claims, tables_read
from harness.errors import HarnessError
from harness.files import append_line
from harness.planning.suite import Suite
from harness.records.plans import load_rows, planned_profiles, read_plan
from harness.records.record import Record, Row
from harness.records.reference import read_reference, reference_path, write_reference
from harness.records.store import Store

COMPARED = ("validation_loss", "test_loss")
"""Metrics that must be bit-identical within a numerics class."""


@dataclass
class Comparison:
    """What a comparison found."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One a suite: trials identical, changed, of another numerics class, missing."""
    regressions: list[str] = field(default_factory=list)
    """What makes the command exit 4."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"suites": self.rows, "regressions": self.regressions}

    def as_text(self) -> str:
        """For readers."""
        lines = [
            f"{r['suite']}: {r['identical']} bit-identical, {r['changed']} changed, {r['other_class']} of another "
            f"numerics class, {r['missing']} of the reference not run here"
            for r in self.rows
        ]
        return "\n".join([*lines, *self.regressions, "no regression" if not self.regressions else ""]).rstrip()


def compare(suites: Sequence[Suite], results: Path, reference: str = "") -> Comparison:
    """Compare the stored records of these suites with the committed reference.

    Within a numerics class equal trials must have bit-identical losses; across classes only claims are
    compared: a flip between holds and fails, or an estimate that moved beyond both uncertainties.
    """
    from harness.report import gather

    store = Store(results)
    records = store.load()
    found = Comparison()
    compared = []
    for suite in suites:
        name = reference or suite.profile
        if not reference_path(store, suite.name, name).is_file():
            continue
        _, old_rows = read_reference(store, suite.name, name)
        old = {r.record.identity: r.record for r in old_rows if r.record}
        counts: dict[str, Any] = {"suite": suite.name, "identical": 0, "changed": 0, "other_class": 0, "missing": 0}
        for identity, before in old.items():
            now = records.by_identity.get(identity, [])
            same = [r for r in now if r.numerics_class == before.numerics_class]
            if not now:
                counts["missing"] += 1
            elif not same:
                counts["other_class"] += 1
            elif _equal(before, same[-1]):
                counts["identical"] += 1
            else:
                counts["changed"] += 1
                found.regressions.append(_difference(suite.name, before, same[-1]))
        found.rows.append(counts)
        compared.append(suite.name)
    if not compared:
        raise HarnessError(
            f"{store.root / 'reference'}: no committed reference of {', '.join(s.name for s in suites)}; "
            "make one: harness regress --update --reason '...'"
        )
    profile = suites[0].profile
    here = [n for n in compared if n in planned_profiles(store, profile)]
    if here and (not reference or reference == profile):
        built = gather.Built(Path(), profile, [c for g in gather.collect(store, profile, here) for c in g.claims])
        found.regressions += gather.strict_changes(built, results)
    return found


def _equal(a: Record, b: Record) -> bool:
    return a.status == b.status and all(a.metrics.get(m) == b.metrics.get(m) for m in COMPARED)


def _difference(suite: str, before: Record, now: Record) -> str:
    parts = [f"{m} {before.metrics.get(m)} -> {now.metrics.get(m)}" for m in COMPARED if m in before.metrics]
    if before.status != now.status:
        parts.insert(0, f"{before.status} -> {now.status}")
    code = "same code" if before.fingerprint == now.fingerprint else "changed code"
    return f"{suite} trial {before.identity[:12]} seed {before.trial.seed} ({code}): {', '.join(parts)}"


def update(
    suites: Sequence[Suite], results: Path, reference: str, reason: str, echo: Callable[[str], Any] = print
) -> int:
    """Move the committed reference of these suites to the present records; the only way to do so."""
    if not reason.strip():
        raise HarnessError("--update needs --reason: it is kept in the reference's log")
    store = Store(results)
    records = store.load()
    written = 0
    for suite in suites:
        if read_plan(store, suite.name, suite.profile) is None:
            continue
        plan, rows = load_rows(store, suite.name, suite.profile, records)
        missing = sum(r.record is None for r in rows)
        if missing or plan["more"]:
            raise HarnessError(
                f"{suite.name} ({suite.profile}): {missing} trials have no record yet; "
                f"finish with: harness run {suite.name} profile={suite.profile}"
            )
        path = _write(store, suite, reference or suite.profile, plan, rows, reason)
        echo(f"{path}: {len(rows)} trials, {path.stat().st_size / 1024:.0f} KiB")
        written += 1
    if not written:
        raise HarnessError(f"{store.root}: nothing has been run for these suites at this profile")
    return 0


def _write(store: Store, suite: Suite, name: str, plan: dict[str, Any], rows: list[Row], reason: str) -> Path:
    path = write_reference(
        store, suite.name, name, plan, rows, tables=tables_read(load_claims(suite.claims, suite.file))
    )
    entry = {"suite": suite.name, "reason": reason, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    append_line(path.parent / "history.txt", json.dumps(entry))
    return path

"""The present records beside the committed reference, trial by trial and claim by claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.planning.suite import Suite
from harness.records.plans import planned_profiles
from harness.records.record import Record
from harness.records.reference import read_reference, reference_path
from harness.records.store import Store
from harness.report import gather
from harness.workload import workload_module


@dataclass
class Findings:
    """What a comparison with the reference found."""

    suites: list[dict[str, Any]] = field(default_factory=list)
    """One a suite: trials identical, changed, of another numerics class, missing."""
    regressions: list[str] = field(default_factory=list)
    """What is worse than, or differs from, the reference."""

    @property
    def num_compared(self) -> int:
        """Trials that were held to the reference bit for bit."""
        return sum(s["identical"] + s["changed"] for s in self.suites)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {"suites": self.suites, "compared": self.num_compared, "regressions": self.regressions}

    def as_text(self) -> str:
        """For readers."""
        lines = [
            f"{s['suite']}: {s['identical']} bit-identical, {s['changed']} changed, {s['other_class']} of another "
            f"numerics class, {s['missing']} of the reference not run here"
            for s in self.suites
        ]
        end = "no regression" if self.num_compared else "nothing compared: run the suites first (harness run)"
        return "\n".join([*lines, *(self.regressions or [end])])


def compare(suites: Sequence[Suite], results: Path, reference: str = "") -> Findings:
    """Hold the stored records of these suites to the committed reference.

    Within a numerics class, what the workload declares as compared must be equal to the bit; across classes only
    claims are compared: a flip between holds and fails, or an estimate that moved beyond both uncertainties.
    Raises HarnessError where none of the suites has a reference.
    """
    store = Store(results)
    records = store.load()
    found = Findings()
    compared = []
    for suite in suites:
        name = reference or suite.profile
        if not reference_path(store, suite.name, name).is_file():
            continue
        _, rows = read_reference(store, suite.name, name)
        old = {r.record.identity: r.record for r in rows if r.record}
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
        found.suites.append(counts)
        compared.append(suite.key)
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


def compared_metrics(workload: str) -> list[str]:
    """Metrics that this workload declares as compared."""
    return [name for name, metric in workload_module(workload).METRICS.items() if metric.compared]


def _equal(a: Record, b: Record) -> bool:
    compared = compared_metrics(a.trial.workload)
    return a.status == b.status and all(a.metrics.get(m) == b.metrics.get(m) for m in compared)


def _difference(suite: str, before: Record, now: Record) -> str:
    compared = compared_metrics(before.trial.workload)
    parts = [
        f"{m} {before.metrics.get(m)} -> {now.metrics.get(m)}"
        for m in compared
        if before.metrics.get(m) != now.metrics.get(m)
    ]
    if before.status != now.status:
        parts.insert(0, f"{before.status} -> {now.status}")
    code = "same code" if before.fingerprint == now.fingerprint else "changed code"
    return f"{suite} trial {before.identity[:12]} seed {before.trial.seed} ({code}): {', '.join(parts)}"

"""What a suite asks for today at a place of an older plan: the trial of its arm, cell, point, seed and role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import SuiteError
from harness.planning.merging import merged, nested
from harness.planning.resolve import Resolver
from harness.planning.suite import Suite
from harness.records.record import Planned
from harness.trial import Trial


def asked_now(suite: Suite, resolver: Resolver, planned: Planned) -> Trial:
    """The trial. Raises SuiteError saying what the suite no longer has, or why its config is refused."""
    if planned.arm not in suite.active_arms:
        raise SuiteError(f"the suite has no arm {planned.arm!r} in profile {suite.profile}")
    patch = next((p for cell, p in suite.cells(planned.arm) if cell == planned.cell), None)
    where = f"arm {planned.arm!r}" + "".join(f", {k} {v}" for k, v in planned.cell.items())
    if patch is None:
        raise SuiteError(f"the suite has no {where}")
    timed = planned.role == "timing"
    if timed and suite.timing is None:
        raise SuiteError("the suite times nothing")
    raw = suite.config(planned.arm, patch, timed)
    return resolver.trial(merged(raw, nested(planned.hyperparameters)), planned.trial.seed, where).trial


def changes(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """Keys of a config whose values differ, in words; a key that is absent is at its default."""
    out = []
    for key in sorted({*before, *now}):
        a, b, name = before.get(key), now.get(key), f"{path}{key}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            out += changes(a, b, f"{name}.")
        elif a != b:
            out.append(f"{name} {_shown(a)} -> {_shown(b)}")
    return out


def _shown(value: Any) -> str:
    return "default" if value is None else str(value)

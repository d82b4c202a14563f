"""What the terminal shows of a plan: counts, reasons, notes and a table; or JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from harness import runner
from harness.commands._options import warn
from harness.numbers import duration
from harness.planning.checks import expected_effects
from harness.planning.compose import parse_only
from harness.planning.durations import estimate_seconds
from harness.planning.plan import Plan
from harness.planning.registering import outlook, registrations, seeded
from harness.planning.states import STATES, Item
from harness.planning.suite import Suite
from harness.records.record import RecordSet
from harness.records.store import Store


def plans_of(
    suites: Sequence[Suite], results: Path, only: str | None, build: bool = True
) -> tuple[Store, list[Plan], RecordSet]:
    """The plans of these suites over what is stored, with the seeds that a run would take; damage found is said.

    ``build``: data that are not built yet are built; else a note says so, and their trials count as missing.
    """
    store = Store(results)
    suites = seeded(suites, store)
    records = store.load()
    for note in records.notes:
        warn(note)
    kept = parse_only(only, suites[0]) if only else None
    return store, runner.plan_all(suites, records, store, kept, build), records


def as_json(plan: Plan, records: RecordSet, results: Path) -> dict[str, Any]:
    """A plan for programs."""
    seconds = estimate_seconds(plan.items, records)
    return {
        "suite": plan.suite.name,
        "profile": plan.suite.profile,
        **plan.counts(),
        "up_to_more": plan.more,
        "registration": outlook(plan.suite, registrations(Store(results))),
        "notes": plan.notes,
        "expected": expected_effects(plan.suite, results),
        "trials": [
            {
                "identity": i.planned.trial.identity,
                "arm": i.planned.arm,
                "cell": i.planned.cell,
                "role": i.planned.role,
                "seed": i.planned.trial.seed,
                "hyperparameters": i.planned.hyperparameters,
                "state": i.state,
                "why": i.why,
                "flops": i.flops,
                "estimated_seconds": round(s, 2),
            }
            for i, s in zip(plan.items, seconds, strict=True)
        ],
    }


def show(plan: Plan, records: RecordSet, results: Path, trials: bool = False) -> None:
    """Print a plan: a line of counts, why trials are pending, notes; then a row a cell, or with ``trials`` a line
    a trial."""
    pending = plan.pending
    counts = plan.counts()
    more = f"up to {plan.more} more"
    if waiting := counts.pop("waiting"):
        more += f", of them {waiting} waiting for trials that they need"
    typer.echo(
        f"{typer.style(plan.suite.name, bold=True)} profile={plan.suite.profile}: "
        f"{', '.join(f'{number} {state}' for state, number in counts.items())}, {more}; "
        f"pending {sum(i.flops for i in pending):.2g} FLOPs, "
        f"about {duration(sum(estimate_seconds(pending, records)))} of one worker"
    )
    reasons = Counter(f"{i.state}: {i.why}" for i in pending if i.why)
    lines = [f"{count} x {reason}" for reason, count in reasons.items()]
    lines.append(outlook(plan.suite, registrations(Store(results))))
    lines += [f"note: {note}" for note in [*plan.notes, *expected_effects(plan.suite, results)]]
    lines += map(_trial, plan.items) if trials else _table(plan)
    for line in lines:
        typer.echo(f"  {line}")


def _trial(item: Item) -> str:
    return f"{item.state:<8} {item.planned.trial.identity[:12]}  {runner.label_of(item)}  {item.why}".rstrip()


def _table(plan: Plan) -> list[str]:
    """A line for each arm, cell and role: how many trials are in each state."""
    groups: dict[tuple[str, str, str], Counter[str]] = {}
    for i in plan.items:
        cell = " ".join(f"{k}={v}" for k, v in i.planned.cell.items())
        groups.setdefault((i.planned.arm, cell, i.planned.role), Counter())[i.state] += 1
    rows = [("arm", "cell", "role", *STATES)]
    rows += [(*group, *(str(states[s] or "") for s in STATES)) for group, states in groups.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{text:<{w}}" for text, w in zip(row, widths, strict=True)).rstrip() for row in rows]

"""Sentinels: the few trials of a committed reference that the regression gate runs again.

Of each arm the smallest and a middle size, at one point, up to three seeds. What is run is the trial that the suite
asks for today at that place, so that a change of the suite's text or of how configs are resolved shows, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.analysis.gate import Noise, decisive
from harness.errors import HarnessError, SuiteError
from harness.planning.asked import asked_now, changes
from harness.planning.resolve import Resolver
from harness.planning.suite import Suite
from harness.records.record import Planned, Record, Row
from harness.records.reference import read_reference, reference_path
from harness.records.store import Store
from harness.workload import workload_module

SEEDS = 3
"""Paired seeds where bits differ."""


@dataclass(frozen=True, kw_only=True)
class Sentinel:
    """A trial of the reference, and the one that runs in its place now."""

    reference: Planned
    cell: str
    before: Record
    now: Planned | None
    """None: it cannot be run; ``why`` says so."""
    why: str = ""
    altered: tuple[str, ...] = ()
    """Keys of its config that the suite asks otherwise today."""


@dataclass(kw_only=True)
class Watched:
    """A suite's sentinels."""

    suite: Suite
    """As it stands."""
    seeds: list[list[Sentinel]] = field(default_factory=list)
    """First seed first: of every seed the sentinels of all arms and cells."""
    noise: Mapping[str, Noise] = field(default_factory=dict)
    """Arm -> what another seed does to the deciding metric, by the reference."""
    missing: dict[str, str] = field(default_factory=dict)
    """Arms that have no sentinel -> why."""
    notes: list[str] = field(default_factory=list)
    """What is left out by rule."""


def watched(suite: Suite, store: Store, reference: str) -> Watched:
    """A suite's sentinels, from its committed reference. Builds the data that they read."""
    out = Watched(suite=suite)
    if not reference_path(store, suite.name, reference).is_file():
        out.missing = dict.fromkeys(suite.active_arms, f"no committed reference {reference!r}")
        return out
    rows = [r for r in read_reference(store, suite.name, reference)[1] if r.record]
    by_arm = {arm: _usable(rows, arm) for arm in dict.fromkeys([*suite.active_arms, *_arms(rows)])}
    if reading := [arm for arm, own in by_arm.items() if own and all(r.planned.trial.needs for r in own)]:
        out.notes.append(
            f"{suite.name}: {', '.join(reading)}: these trials read other trials' files, which no reference keeps"
        )
    chosen: dict[str, list[list[Row]]] = {}
    for arm, own in by_arm.items():
        if arm in reading:
            continue
        if cells := _cells([r for r in own if not r.planned.trial.needs]):
            chosen[arm] = cells
        else:
            out.missing[arm] = f"reference {reference!r} has no completed trial of it"
    out.noise = _noise({arm: _points(by_arm[arm]) for arm in chosen}, suite.workload)
    resolver = Resolver(suite, store.data)
    for number in range(SEEDS):
        of_seed = [cell[number] for cells in chosen.values() for cell in cells if number < len(cell)]
        out.seeds.append([_sentinel(row, suite, resolver) for row in of_seed])
    return out


def _arms(rows: Iterable[Row]) -> list[str]:
    return [r.planned.arm for r in rows if r.planned.role in ("evaluation", "timing")]


def _usable(rows: Iterable[Row], arm: str) -> list[Row]:
    """An arm's completed evaluation trials; of one that is only timed, those."""
    own = [r for r in rows if r.planned.arm == arm and r.record and r.record.status == "completed"]
    return [r for r in own if r.planned.role == "evaluation"] or [r for r in own if r.planned.role == "timing"]


def _points(rows: Sequence[Row]) -> list[list[Row]]:
    """Of every cell, the smallest first, the seeds of the middle one of its points."""
    cells: dict[str, list[Row]] = {}
    for row in rows:
        cells.setdefault(_name(row), []).append(row)
    return [_of_point(own) for own in sorted(cells.values(), key=lambda own: min(map(_cost, own)))]


def _cells(rows: Sequence[Row]) -> list[list[Row]]:
    """The smallest cell and a middle one, each the first seeds of a point."""
    points = _points(rows)
    places = sorted({0, max(1, (len(points) - 1) // 2)} & set(range(len(points))))
    return [points[p][:SEEDS] for p in places]


def _of_point(rows: Sequence[Row]) -> list[Row]:
    points: dict[str, list[Row]] = {}
    for row in rows:
        points.setdefault(str(sorted(row.planned.hyperparameters.items())), []).append(row)
    most = max(map(len, points.values()))
    full = [own for own in points.values() if len(own) == most]
    full.sort(key=lambda own: [float(v) for _, v in sorted(own[0].planned.hyperparameters.items())])
    return sorted(full[len(full) // 2], key=lambda r: r.planned.trial.seed)


def _name(row: Row) -> str:
    return " ".join(f"{k}={v}" for k, v in row.planned.cell.items())


def _cost(row: Row) -> float:
    assert row.record is not None
    return float(row.record.metrics.get("flops") or row.record.seconds.get("total") or 0.0)


def _sentinel(row: Row, suite: Suite, resolver: Resolver) -> Sentinel:
    assert row.record is not None
    planned, why = row.planned, ""
    altered: tuple[str, ...] = ()
    try:
        trial = asked_now(suite, resolver, planned)
    except SuiteError as error:
        trial, why = None, str(error)
    except HarnessError as error:
        trial, why = None, f"its data: {error}"
    if trial and trial.data != planned.trial.data:
        trial, why = None, "it reads other data here than the reference did"
    if trial:
        altered = tuple(changes(planned.trial.config, trial.config))
    now = planned.model_copy(update={"trial": trial, "probes": dict(suite.probes)}) if trial else None
    return Sentinel(
        reference=planned, cell=_name(row), before=row.record, now=now, why=why, altered=altered
    )


def _noise(arms: Mapping[str, Sequence[Sequence[Row]]], workload: str) -> dict[str, Noise]:
    """Arm -> its noise. Three seeds do not show an arm to be calmer than all arms of its role together."""
    metric = decisive(workload_module(workload).METRICS)
    own: dict[str, list[list[float]]] = {}
    of_role: dict[str, dict[frozenset[str], list[float]]] = {}
    roles: dict[str, str] = {}
    for arm, points in arms.items():
        for rows in points:
            roles[arm] = rows[0].planned.role
            values = [v for r in rows if r.record and metric and (v := r.record.metrics.get(metric)) is not None]
            if len(values) > 1:
                own.setdefault(arm, []).append(values)
                once = frozenset(r.planned.trial.identity for r in rows)  # arms may share trials
                of_role.setdefault(roles[arm], {})[once] = values
    whole = {role: _pooled(list(groups.values())) for role, groups in of_role.items()}
    return {
        arm: Noise(sd=max(all_.sd, _pooled(own[arm]).sd if arm in own else 0.0), df=all_.df)
        for arm, role in roles.items()
        if (all_ := whole.get(role)) is not None
    }


def _pooled(groups: Sequence[Sequence[float]]) -> Noise:
    """From values of equal config, two or more a group."""
    df = sum(len(values) - 1 for values in groups)
    squares = sum(float(np.var(values, ddof=1)) * (len(values) - 1) for values in groups)
    return Noise(sd=float(np.sqrt(squares / df)), df=df)

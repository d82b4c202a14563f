"""(suite, records) -> the next round of trials.

A pure function, called until it asks for nothing: so tuning, boundary closure, fresh seeds at a tuned
optimum and hyperparameters taken from another arm need no state beside the records.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import SuiteError, unknown
from harness.planning.cells import ArmCell, key_of_cell
from harness.planning.merging import merged, nested
from harness.planning.needs import NeededTrials
from harness.planning.resolve import Resolved, Resolver
from harness.planning.states import STATES, Item, States, by_coverage, coverage, mean_of
from harness.planning.suite import NearOptimum, Range, Suite, Sweep, Tuning
from harness.planning.tuning import (
    Chosen,
    Lookup,
    Point,
    Study,
    grid_around,
    initial_grid,
    key_of,
    study,
    sweep_study,
)
from harness.records.record import Planned, RecordSet, code_of
from harness.workload import workload_module

TIMING_SEEDS = 2000
"""First seed index of timing trials."""
RESELECTION_SEEDS = 100
"""Fresh seeds of the n-th selection begin at n times this index."""


@dataclass
class Plan:
    """What a suite needs at this moment."""

    suite: Suite
    items: list[Item] = field(default_factory=list)
    more: int = 0
    """Up to this many further trials will follow once the pending ones are known; those that wait included."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know: selections, edges, cells left out."""
    selections: list[dict[str, Any]] = field(default_factory=list)
    """One row a tuned (arm, cell)."""
    sources: list[Mapping[str, Any]] = field(default_factory=list)
    """What its trials read, as their workloads say."""

    @property
    def pending(self) -> list[Item]:
        """Trials to run."""
        return [i for i in self.items if i.state not in ("done", "waiting")]

    def counts(self) -> dict[str, int]:
        """State -> number of trials."""
        out: dict[str, int] = dict.fromkeys(STATES, 0)
        for item in self.items:
            out[item.state] += 1
        return out

    def as_dict(self) -> dict[str, Any]:
        """What the store keeps beside the records: labels, selections, notes, the resolved suite."""
        return {
            "suite": self.suite.model_dump(mode="json"),
            "claims_hash": self.suite.claims_hash,
            "notes": self.notes,
            "selections": self.selections,
            "more": self.more,
            "rows": [
                {
                    "planned": i.planned.model_dump(mode="json", exclude_defaults=True),
                    "state": i.state,
                    "code": code_of(i.record) if i.record else None,
                }
                for i in self.items
            ],
        }


def make_plan(
    suite: Suite,
    records: RecordSet,
    data_folder: Path | None,
    accepted: Mapping[tuple[str, str, str], str] | None = None,
    only: Mapping[str, set[str]] | None = None,
    probes: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    build: bool = True,
) -> Plan:
    """The plan of a suite given these records.

    ``data_folder`` None leaves data unread (and identities without it): enough to count and check.
    ``only`` keeps arms and axis values; ``probes`` adds what other suites want of a trial, by identity.
    Data that are not built yet are built, or, without ``build``, named in a note: then their trials are missing.
    """
    resolver = Resolver(suite, data_folder, build)

    def expanded(classes: Sequence[str]) -> tuple[Plan, list[str]]:
        states = States(records, accepted or {}, classes)
        plan = _Expansion(suite, resolver, states, only or {}, probes or {}).plan()
        return plan, by_coverage({c: len(identities) for c, identities in states.held.items()})

    # Where a trial has records of several numerics classes, the class that covers most of the plan counts; and what
    # is planned may hang on which counts. So the first plan, by the whole store's coverage, only shows what it is.
    order = by_coverage(coverage(records))
    plan, covering = expanded(order)
    plan = plan if covering == [c for c in order if c in covering] else expanded(covering)[0]
    plan.notes += map(_unbuilt, resolver.unbuilt)
    return plan


def _unbuilt(source: Mapping[str, Any]) -> str:
    """That data are not there yet, and what builds them."""
    words = shlex.join(str(v) if k == "name" else f"{k}={v}" for k, v in source.items() if v is not None)
    return (
        f"data not built here yet, so its trials count as missing; a run builds it, or: harness data build {words}"
    )


class _Expansion:
    def __init__(
        self,
        suite: Suite,
        resolver: Resolver,
        states: States,
        only: Mapping[str, set[str]],
        probes: Mapping[str, Mapping[str, Any]],
    ):
        self.suite = suite
        self.resolver = resolver
        self.states = states
        self.only = only
        self.probes = probes
        self.result = Plan(suite)
        self.needed = NeededTrials(self._needed)
        self.chosen: dict[tuple[str, str], Chosen | None] = {}
        """None where nothing is chosen yet."""
        self.hopeless: set[tuple[str, str]] = set()
        """Where nothing will be: no point gave a number."""

    def plan(self) -> Plan:
        self._check_metrics()
        arms = self.suite.active_arms
        # Arms that take another's hyperparameters come after it, whatever the file's order.
        ordered = sorted(arms, key=lambda a: bool(arms[a].hyperparameters))
        for arm in ordered:
            if arms[arm].timing_only:
                continue
            for cell, patch in self.suite.cells(arm):
                if self._wanted(arm, cell):
                    raw = self.suite.config(arm, patch)
                    self._expand(ArmCell(arm, cell, raw, arms[arm].seeds or self.suite.seeds))
        if self.suite.timing:
            self._timing()
        if not self.result.items:
            self.result.notes.append("nothing to run: no arm and cell is left by 'use' and --only")
        self.result.items[:0] = self.needed.items()
        self.result.notes += [*self.needed.notes(), *self.states.notes]
        self.result.more += self.result.counts()["waiting"]
        self.result.sources = list(self.resolver.sources.values())
        return self.result

    def _check_metrics(self) -> None:
        """What tuning and sweeps minimise is a metric that the workload declares."""
        declared = workload_module(self.suite.workload, self.suite.file).METRICS
        for key in ("tuning", "sweep"):
            search = getattr(self.suite, key)
            if search is not None and search.metric not in declared:
                raise unknown("metric", search.metric, declared, f"{self.suite.file}: {key}.metric")

    def _wanted(self, arm: str, cell: Mapping[str, Any]) -> bool:
        # An arm that others take their hyperparameters from is planned along with them.
        arms = self.only.get("arm")
        if arms is not None and arm not in arms:
            sources = {self.suite.arms[a].hyperparameters.get("from") for a in arms}
            if arm not in sources:
                return False
        return all(str(cell[k]) in v for k, v in self.only.items() if k != "arm" and k in cell)

    def _expand(self, at: ArmCell) -> None:
        definition = self.suite.arms[at.arm]
        if source := definition.hyperparameters.get("from"):
            key = (source, key_of_cell(at.cell))
            if key not in self.chosen:
                raise SuiteError(
                    f"{self.suite.file}: {at}: arm {source!r}, whose hyperparameters it takes, "
                    "does not run this cell"
                )
            other = self.chosen[key]
            if other is not None:
                self._evaluate(at, other)
            elif key in self.hopeless:
                self.result.notes.append(f"{at}: left out: arm {source!r} has no hyperparameters to take")
            else:
                self.result.more += at.seeds
        elif self.suite.tuning and (definition.space or self.suite.tuning.space):
            self._tune(at, self.suite.tuning, {**self.suite.tuning.space, **definition.space})
        elif self.suite.sweep:
            self._sweep(at, self.suite.sweep, {**self.suite.sweep.space, **definition.space})
        else:
            self._evaluate(at, Chosen(point={}))

    def _add(self, at: ArmCell, seed: int, point: Mapping[str, float], **labels: Any) -> Item:
        resolved = self.resolver.trial(merged(at.raw, nested(point)), seed, str(at))
        needs = self.needed.of(resolved, at.cell) if resolved.needs else {}
        own = self.suite.probes if labels.get("role", "evaluation") == "evaluation" else {}
        planned = self._planned(resolved, own, arm=at.arm, cell=at.cell, hyperparameters=dict(point), **labels)
        item = self.states.item(planned, resolved, needs)
        if item.state == "waiting":
            self.needed.wait(item)
        self.result.items.append(item)
        return item

    def _needed(self, name: str, resolved: Resolved) -> Item:
        return self.states.item(self._planned(resolved, {}, arm=name, role="needed"), resolved, {})

    def _planned(self, resolved: Resolved, probes: Mapping[str, Mapping[str, Any]], **labels: Any) -> Planned:
        wanted = {k: dict(v) for k, v in probes.items()}
        for name, settings in self.probes.get(resolved.trial.identity, {}).items():
            wanted.setdefault(name, dict(settings))
        suite, profile = self.suite.name, self.suite.profile
        return Planned(trial=resolved.trial, suite=suite, profile=profile, probes=wanted, **labels)

    def _lookup(self, at: ArmCell, seeds: Sequence[int], metric: str, **labels: Any) -> Lookup:
        """Plans a point's trials when it is first looked up; their mean, once all are known."""
        known: dict[str, float | None] = {}

        def lookup(point: Point) -> float | None:
            key = key_of(point)
            if key not in known:
                items = [self._add(at, seed, point, **labels) for seed in seeds]
                known[key] = mean_of(items, metric, self.suite.file)
            return known[key]

        return lookup

    def _searched(self, at: ArmCell, state: Study, seeds: int) -> Chosen | None:
        """Keep what a search chose, or how much of it is to come."""
        self.chosen[at.key] = state.chosen
        self.result.more += state.more * seeds
        if state.failed:
            self.hopeless.add(at.key)
            self.result.notes.append(f"{at}: no hyperparameters chosen: {state.failed}")
        return state.chosen

    def _tune(self, at: ArmCell, tuning: Tuning, space: dict[str, Range]) -> None:
        # An A/A arm tunes for itself: on its rival's seeds it would choose what its rival chose.
        own = self.suite.arms[at.arm].first_seed
        lookup = self._lookup(at, [s + own for s in tuning.seeds], tuning.metric, role="tuning")
        state = study(tuning, space, lookup, f"{self.suite.file}: {at}")
        chosen = self._searched(at, state, len(tuning.seeds))
        if chosen is None:
            self.result.more += 0 if state.failed else at.seeds
            return
        best = key_of(chosen.best_run)
        for n, item in enumerate(self.result.items):
            if at.holds(item.planned, "tuning") and key_of(item.planned.hyperparameters) == best:
                self._mark(n, selected=True)
        self._evaluate(at, chosen, state.asked)

    def _mark(self, n: int, selected: bool) -> None:
        item = self.result.items[n]
        self.result.items[n] = replace(item, planned=item.planned.model_copy(update={"selected": selected}))

    def _evaluate(self, at: ArmCell, chosen: Chosen, ladder: Sequence[Point] = ()) -> None:
        """Fresh seeds at the chosen point; if one diverges there, the next finite point down, with new seeds."""
        point, attempt = dict(chosen.point), 0
        while True:
            first = self.suite.first_seed + self.suite.arms[at.arm].first_seed + attempt * RESELECTION_SEEDS
            begin = len(self.result.items)
            items = [
                self._add(at, first + s, point, selected=True, at_edge=chosen.at_edge) for s in range(at.seeds)
            ]
            diverged = [i for i in items if i.record and i.state == "done" and i.record.status == "diverged"]
            lower = self._next_lower(at, point, ladder) if diverged and ladder else None
            if lower is None:
                break
            self.result.notes.append(
                f"{at}: {len(diverged)} of {at.seeds} fresh seeds diverged at {_text(point)}; "
                f"second selection at {_text(lower)} with new seeds"
            )
            for n in range(begin, len(self.result.items)):
                self._mark(n, selected=False)
            point, attempt = lower, attempt + 1
        if chosen.point:
            self.result.selections.append(
                {
                    "arm": at.arm,
                    **at.cell,
                    **point,
                    "at_edge": chosen.at_edge,
                    "regret": chosen.regret,
                    "budget_used": len(ladder),
                    "selections": attempt + 1,
                    "note": chosen.note,
                }
            )
            if chosen.at_edge:
                self.result.notes.append(
                    f"{at}: the optimum lies on the edge of its range after closure ({_text(point)}); "
                    "this cell takes part in no verdict"
                )
        self.chosen.setdefault(at.key, chosen)

    def _next_lower(self, at: ArmCell, point: Point, ladder: Sequence[Point]) -> Point | None:
        """The tuned point with the highest first coordinate below this one's whose tuning run was finite."""
        path = next(iter(point))
        finite = {
            key_of(i.planned.hyperparameters)
            for i in self.result.items
            if at.holds(i.planned, "tuning") and i.record and i.record.status == "completed"
        }
        lower = [p for p in ladder if p[path] < point[path] * 0.99 and key_of(p) in finite]
        return max(lower, key=lambda p: p[path]) if lower else None

    def _sweep(self, at: ArmCell, sweep: Sweep, space: dict[str, Range]) -> None:
        points, seeds = initial_grid(space), at.seeds
        around = sweep.around
        if around and at.cell.get(around.axis) == around.value:
            centres = self._centres(at, around)
            if centres is None:
                return
            points, seeds = grid_around(centres, space), around.seeds or seeds
        first = self.suite.first_seed
        lookup = self._lookup(at, range(first, first + seeds), sweep.metric)
        state = sweep_study(sweep, space, points, lookup)
        chosen = self._searched(at, state, seeds)
        if chosen and chosen.at_edge:
            self.result.notes.append(f"{at}: the minimum lies on the edge of the grid after closure")

    def _centres(self, at: ArmCell, around: NearOptimum) -> list[tuple[Point, int]] | None:
        """(optimum, grid steps to either side) of each cell that ``around`` names; None while one is not known."""
        reaches = {around.near: around.points // 2, **({around.transfer_from: 1} if around.transfer_from else {})}
        centres = []
        for source, reach in reaches.items():
            key = (at.arm, key_of_cell({**at.cell, around.axis: source}))
            centre = self.chosen.get(key)
            if centre is None:
                if key in self.hopeless:
                    self.result.notes.append(f"{at}: left out: {around.axis} {source} has no optimum to run near")
                else:
                    self.result.more += around.points * (around.seeds or at.seeds)
                return None
            centres.append((centre.point, reach))
        return centres

    def _timing(self) -> None:
        """Short exclusive trials, arms interleaved within each cell and repeat.

        An arm that differs from another only in its hyperparameters takes no time of its own.
        """
        timing = self.suite.timing
        assert timing is not None
        for repeat in range(timing.repeats):
            for cell, patch in self.suite.cells(next(iter(self.suite.active_arms))):
                for arm, definition in self.suite.active_arms.items():
                    if definition.hyperparameters or definition.first_seed or not self._wanted(arm, cell):
                        continue
                    raw = self.suite.config(arm, patch, timed=True)
                    self._add(ArmCell(arm, cell, raw, 1), TIMING_SEEDS + repeat, {}, role="timing")


def _text(point: Mapping[str, float]) -> str:
    return ", ".join(f"{k} = {v:.4g}" for k, v in point.items())

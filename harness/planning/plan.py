"""(suite, records) -> the next round of trials.

A pure function, called until it asks for nothing: so tuning, boundary closure, fresh seeds at a tuned
optimum and hyperparameters taken from another arm need no state beside the records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import SuiteError, unknown
from harness.planning.states import Catalogue, Item
from harness.planning.suite import Around, Range, Suite, Sweep, Tuning, merged, nested
from harness.planning.tuning import Chosen, Point, Study, beyond_edge, initial_grid, key_of, study
from harness.records.record import Planned, RecordSet, code_of
from harness.trial import Trial

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
    """Up to this many further trials will follow once the pending ones are known."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know: selections, edges, cells left out."""
    selections: list[dict[str, Any]] = field(default_factory=list)
    """One row a tuned (arm, cell)."""

    @property
    def pending(self) -> list[Item]:
        """Trials to run."""
        return [i for i in self.items if i.state != "done"]

    def counts(self) -> dict[str, int]:
        """State -> number of trials."""
        out = {"done": 0, "stale": 0, "missing": 0, "failed": 0}
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
) -> Plan:
    """The plan of a suite given these records.

    ``data_folder`` None leaves data unread (and identities without it): enough to count and check.
    ``only`` keeps arms and axis values; ``probes`` adds what other suites want of a trial, by identity.
    """
    catalogue = Catalogue(suite, records, data_folder, accepted or {})
    return _Expansion(suite, catalogue, only or {}, probes or {}).plan()


@dataclass(frozen=True)
class Place:
    """An arm in a cell."""

    arm: str
    cell: dict[str, Any]
    raw: dict[str, Any]
    """Its config, without hyperparameters."""
    seeds: int
    """Evaluation seeds."""

    @property
    def key(self) -> tuple[str, str]:
        """What its chosen hyperparameters are kept under."""
        return self.arm, key_of_cell(self.cell)

    def __str__(self) -> str:
        return f"arm {self.arm!r}" + "".join(f", {k} {v}" for k, v in self.cell.items())

    def holds(self, planned: Planned, role: str) -> bool:
        """Whether this trial is planned here, in this role."""
        return planned.arm == self.arm and planned.cell == self.cell and planned.role == role


class _Expansion:
    def __init__(self, suite: Suite, catalogue: Catalogue, only: Mapping[str, set[str]], probes: Mapping[str, Any]):
        self.suite = suite
        self.catalogue = catalogue
        self.only = only
        self.probes = probes
        self.result = Plan(suite)
        self.chosen: dict[tuple[str, str], Chosen | None] = {}

    def plan(self) -> Plan:
        arms = self.suite.active_arms
        # Arms that take another's hyperparameters come after it, whatever the file's order.
        ordered = sorted(arms, key=lambda a: bool(arms[a].hyperparameters))
        for arm in ordered:
            if arms[arm].timing_only:
                continue
            for cell, patch in self.suite.cells(arm):
                if self._wanted(arm, cell):
                    raw = merged(merged(self.suite.base, patch), arms[arm].patch)
                    self._place(Place(arm, cell, raw, arms[arm].seeds or self.suite.seeds))
        if self.suite.timing:
            self._timing()
        if not self.result.items:
            self.result.notes.append("nothing to run: no arm and cell is left by 'use' and --only")
        return self.result

    def _wanted(self, arm: str, cell: Mapping[str, Any]) -> bool:
        # An arm that others take their hyperparameters from is planned along with them.
        arms = self.only.get("arm")
        if arms is not None and arm not in arms:
            sources = {self.suite.arms[a].hyperparameters.get("from") for a in arms}
            if arm not in sources:
                return False
        return all(str(cell[k]) in v for k, v in self.only.items() if k != "arm" and k in cell)

    def _place(self, at: Place) -> None:
        definition = self.suite.arms[at.arm]
        if source := definition.hyperparameters.get("from"):
            key = (source, key_of_cell(at.cell))
            if key not in self.chosen:
                raise SuiteError(
                    f"{self.suite.file}: {at}: arm {source!r}, whose hyperparameters it takes, "
                    "does not run this cell"
                )
            other = self.chosen[key]
            if other is None:
                self.result.more += at.seeds
            else:
                self._evaluate(at, other)
        elif self.suite.tuning and (definition.space or self.suite.tuning.space):
            self._tune(at, self.suite.tuning, {**self.suite.tuning.space, **definition.space})
        elif self.suite.sweep:
            self._sweep(at, self.suite.sweep, {**self.suite.sweep.space, **definition.space})
        else:
            self._evaluate(at, Chosen(point={}))

    def _add(self, at: Place, seed: int, point: Mapping[str, float], **labels: Any) -> Item:
        t, flops, code = self.catalogue.trial(merged(at.raw, nested(point)), seed, str(at))
        wanted = dict(self.suite.probes) if labels.get("role", "evaluation") == "evaluation" else {}
        for name, settings in self.probes.get(t.identity, {}).items():
            wanted.setdefault(name, dict(settings))
        planned = Planned(
            trial=t,
            suite=self.suite.name,
            profile=self.suite.profile,
            arm=at.arm,
            cell=at.cell,
            hyperparameters=dict(point),
            probes=wanted,
            **labels,
        )
        item = self.catalogue.item(planned, flops, code)
        self.result.items.append(item)
        return item

    def _value(self, items: list[Item], metric: str) -> float | None:
        """Mean over seeds; inf if one diverged, nan if skipped, None if one is not known yet."""
        values = []
        for item in items:
            if item.state != "done" or item.record is None:
                return None
            if item.record.status == "skipped":
                return math.nan
            if item.record.status == "completed" and metric not in item.record.metrics:
                raise SuiteError(str(unknown("metric", metric, item.record.metrics, f"{self.suite.file}: metric")))
            value = item.record.metrics.get(metric) if item.record.status == "completed" else None
            values.append(math.inf if value is None else value)
        return sum(values) / len(values)

    def _tune(self, at: Place, tuning: Tuning, space: dict[str, Range]) -> None:
        cache: dict[str, float | None] = {}

        def lookup(point: Point) -> float | None:
            key = key_of(point)
            if key not in cache:
                items = [self._add(at, seed, point, role="tuning") for seed in tuning.seeds]
                cache[key] = self._value(items, tuning.metric)
            return cache[key]

        state: Study = study(tuning, space, lookup, f"{self.suite.file}: {at}")
        self.chosen[at.key] = state.chosen
        self.result.more += state.more * len(tuning.seeds)
        if state.chosen is None:
            if state.failed:
                self.result.notes.append(f"{at}: no hyperparameters chosen: {state.failed}")
            else:
                self.result.more += at.seeds
            return
        best = key_of(state.chosen.best_run)
        for n, item in enumerate(self.result.items):
            if at.holds(item.planned, "tuning") and key_of(item.planned.hyperparameters) == best:
                self._mark(n, selected=True)
        self._evaluate(at, state.chosen, state.asked)

    def _mark(self, n: int, selected: bool) -> None:
        item = self.result.items[n]
        self.result.items[n] = replace(item, planned=item.planned.model_copy(update={"selected": selected}))

    def _evaluate(self, at: Place, chosen: Chosen, ladder: Sequence[Point] = ()) -> None:
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

    def _next_lower(self, at: Place, point: Point, ladder: Sequence[Point]) -> Point | None:
        """The tuned point with the highest first coordinate below this one's whose tuning run was finite."""
        path = next(iter(point))
        finite = {
            key_of(i.planned.hyperparameters)
            for i in self.result.items
            if at.holds(i.planned, "tuning") and i.record and i.record.status == "completed"
        }
        lower = [p for p in ladder if p[path] < point[path] * 0.99 and key_of(p) in finite]
        return max(lower, key=lambda p: p[path]) if lower else None

    def _sweep(self, at: Place, sweep: Sweep, space: dict[str, Range]) -> None:
        points, seeds = initial_grid(space), at.seeds
        around = sweep.around
        if around and at.cell.get(around.axis) == around.value:
            near = self._points_around(at, around, space)
            if near is None:
                self.result.more += around.points * seeds
                return
            points, seeds = near, around.seeds or seeds
        observed: dict[str, tuple[Point, float]] = {}
        todo, added = points, 0
        while todo:
            waiting = False
            for point in todo:
                items = [self._add(at, self.suite.first_seed + s, point) for s in range(seeds)]
                value = self._value(items, sweep.metric)
                waiting |= value is None
                if value is not None and not math.isnan(value):
                    observed[key_of(point)] = (point, value)
            if waiting:
                self.result.more += (sweep.closure - added) * seeds
                self.chosen[at.key] = None
                return
            todo = [p for p in beyond_edge(space, observed) if key_of(p) not in observed][: sweep.closure - added]
            added += len(todo)
        finite = [(v, p) for p, v in observed.values() if math.isfinite(v)]
        if finite:
            self.chosen[at.key] = Chosen(point=min(finite, key=lambda vp: vp[0])[1])
        if beyond_edge(space, observed):
            self.result.notes.append(f"{at}: the minimum lies on the edge of the grid after closure")

    def _points_around(self, at: Place, around: Around, space: dict[str, Range]) -> list[Point] | None:
        """Grid points near the optima of the cells that ``around`` names; None until these are known."""
        path, r = next(iter(space.items()))
        chosen: dict[float, Point] = {}
        reaches = {around.near: around.points // 2, **({around.transfer_from: 1} if around.transfer_from else {})}
        for source, reach in reaches.items():
            centre = self.chosen.get((at.arm, key_of_cell({**at.cell, around.axis: source})))
            if centre is None:
                return None
            for k in range(-reach, reach + 1):
                value = centre.point[path] * 2.0 ** (k * r.step)
                chosen[value] = {**centre.point, path: value}
        return [chosen[value] for value in sorted(chosen)]

    def _timing(self) -> None:
        """Short exclusive trials, arms interleaved within each cell and repeat.

        An arm that differs from another only in its hyperparameters takes no time of its own.
        """
        timing = self.suite.timing
        for repeat in range(int(timing.get("repeats", 3))):
            for cell, patch in self.suite.cells(next(iter(self.suite.active_arms))):
                for arm, definition in self.suite.active_arms.items():
                    if definition.hyperparameters or definition.first_seed or not self._wanted(arm, cell):
                        continue
                    raw = merged(merged(merged(self.suite.base, patch), definition.patch), timing.get("base", {}))
                    self._add(Place(arm, cell, raw, 1), TIMING_SEEDS + repeat, {}, role="timing")


def key_of_cell(cell: Mapping[str, Any]) -> str:
    """Text that equal cells share."""
    return json.dumps(dict(sorted(cell.items())), default=str)


def _text(point: Mapping[str, float]) -> str:
    return ", ".join(f"{k} = {v:.4g}" for k, v in point.items())


LEAST_GROWTH = 0.6
"""Least exponent of time over FLOPs beyond the largest known trial: wider models use a machine better (0.6 to 0.7
was measured from width 16 to 56), and short trials are mostly overhead, so a plain ratio says hours for minutes."""
UNKNOWN_RATE = {"cpu": 4e9, "cuda": 5e13}
"""FLOP/s assumed of a device kind until there are records of it: one CPU thread, one GPU, on small models."""


def estimate_seconds(items: list[Item], records: RecordSet) -> list[float]:
    """Seconds each trial will take: interpolated over FLOPs (log-log) from this store's records of its device kind.

    Beyond the largest known trial time grows as among the known ones, at most in proportion.
    """
    known: dict[str, list[tuple[float, float]]] = {}
    for of_trial in records.by_identity.values():
        for r in of_trial:
            flops, seconds = r.metrics.get("flops"), r.seconds.get("total")
            if r.status == "completed" and flops and seconds:
                known.setdefault(device_of(r.trial), []).append((flops, seconds))
    out = []
    curves = {device: _duration_curve(points) for device, points in known.items()}
    for item in items:
        device = device_of(item.planned.trial)
        if device in curves:
            out.append(curves[device](max(item.flops, 1.0)))
        else:
            out.append(1.0 + item.flops / UNKNOWN_RATE.get(device, UNKNOWN_RATE["cpu"]))
    return out


def _duration_curve(points: list[tuple[float, float]]) -> Callable[[float], float]:
    import numpy as np

    x, y = np.log(np.array(sorted(points))).T
    spread = float(((x - x.mean()) ** 2).sum())
    growth = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 1.0
    growth = min(max(growth, LEAST_GROWTH), 1.0)

    def seconds(flops: float) -> float:
        wanted = math.log(flops)
        return math.exp(float(np.interp(wanted, x, y)) + growth * max(0.0, wanted - float(x[-1])))

    return seconds


def device_of(trial: Trial) -> str:
    """Device kind of a trial: cpu or cuda."""
    return str(trial.config.get("compute", {}).get("device", "cpu"))

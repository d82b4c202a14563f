"""Search of hyperparameters, as a pure function of what has been observed.

A study is rebuilt from records at every call: given a lookup from a point to its outcome, it says which
points to run next, how many more there may be, and, when nothing is left, what it chose. Only this module
knows Optuna, which is driven by ask-and-tell in rounds of fixed size told in number order, so the outcome
does not depend on the number of workers or on interruptions.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import SuiteError
from harness.planning.suite import Range, Sweep, Tuning

Point = dict[str, float]
Lookup = Callable[[Point], "float | None"]
"""Mean of the metric over the selection seeds; inf if any diverged; nan if skipped; None if not yet known."""

SELECTION_DIGITS = 2
"""Decimals of an octave kept of a fitted optimum, so that rounding noise never changes an identity."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What a finished study decided."""

    point: Point
    """Config path -> value."""
    at_edge: bool = False
    """The optimum lies on an edge of the range that closure could not leave."""
    regret: float | None = None
    """Fitted loss at the chosen point minus the fitted minimum, in units of the metric."""
    note: str = ""
    """How it was chosen, in a sentence."""
    best_run: Point = field(default_factory=dict)
    """The run with the best value; never a result."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """State of one search."""

    asked: list[Point]
    """All points so far, in number order."""
    pending: list[Point]
    """Asked and not yet observed: to run now."""
    more: int
    """How many further points there may be."""
    chosen: Chosen | None = None
    """Set when nothing is pending and something finite was found."""
    failed: str = ""
    """Why nothing could be chosen."""


def key_of(point: Mapping[str, float]) -> str:
    """Text that equal points share."""
    return json.dumps({k: float(v) for k, v in sorted(point.items())})


def study(tuning: Tuning, space: Mapping[str, Range], lookup: Lookup, where: str) -> Study:
    """The study's state for this space and these observations."""
    if not space:
        raise SuiteError(f"{where}: tuning needs a space: config path -> range")
    points = tuning.budget // len(tuning.seeds)
    if points < 1:
        raise SuiteError(
            f"{where}: tuning.budget {tuning.budget} does not pay for one point on {len(tuning.seeds)} seeds"
        )
    if tuning.sampler.name == "grid":
        return _grid_study(tuning, space, lookup, points, where)
    return _optuna_study(tuning, space, lookup, points, where)


# --- grid ----------------------------------------------------------------------------------------------------


def initial_grid(space: Mapping[str, Range]) -> list[Point]:
    """Product of the ranges' grids."""
    paths = list(space)
    return [
        dict(zip(paths, values, strict=True))
        for values in itertools.product(*(r.grid() for r in space.values()))
    ]


def grid_around(centres: Sequence[tuple[Point, int]], space: Mapping[str, Range]) -> list[Point]:
    """Grid points round these: (centre, steps to either side) along the first dimension."""
    path, r = next(iter(space.items()))
    near = {
        value: {**point, path: value}
        for point, reach in centres
        for k in range(-reach, reach + 1)
        for value in [point[path] * 2.0 ** (k * r.step)]
    }
    return [near[value] for value in sorted(near)]


def beyond_edge(space: Mapping[str, Range], observed: Mapping[str, tuple[Point, float]]) -> list[Point]:
    """The next points outward along each dimension in which the best point lies on an edge."""
    best = _best(observed)
    if best is None:
        return []
    out = []
    for path, r in space.items():
        if r.log2 is None:
            continue
        line = sorted(
            p[path] for p, _ in observed.values() if all(p[q] == best[q] for q in space if q != path)
        )
        for edge, direction in ((line[0], -1), (line[-1], 1)):
            exponent = math.log2(edge) + direction * r.step
            if best[path] == edge and r.limits[0] <= exponent <= r.limits[1]:
                out.append({**best, path: 2.0**exponent})
    return out


def sweep_study(sweep: Sweep, space: Mapping[str, Range], begin: Sequence[Point], lookup: Lookup) -> Study:
    """A grid run in full, then closed at its edges; what it chooses is its best point, unfitted."""
    found = _explore(begin, sweep.closure, space, lookup)
    best = _best(found.observed)
    if found.pending or best is None:
        return found.unfinished()
    edge = bool(beyond_edge(space, found.observed))
    return Study(asked=found.asked, pending=[], more=0, chosen=Chosen(point=best, at_edge=edge, best_run=best))


def _grid_study(tuning: Tuning, space: Mapping[str, Range], lookup: Lookup, points: int, where: str) -> Study:
    begin = initial_grid(space)
    if len(begin) > points:
        raise SuiteError(
            f"{where}: the grid has {len(begin)} points, the budget pays for {points}; "
            f"narrow the space or raise tuning.budget to {len(begin) * len(tuning.seeds)}"
        )
    found = _explore(begin, points - len(begin), space, lookup, refine=tuning.refine)
    best = _best(found.observed)
    if found.pending or best is None:
        return found.unfinished()
    return _choose(tuning, space, found, best)


@dataclass(frozen=True, kw_only=True)
class _Explored:
    """A grid as far as it is known."""

    asked: list[Point]
    pending: list[Point]
    more: int
    observed: dict[str, tuple[Point, float]]
    """Points that were not skipped, with their values."""

    def unfinished(self) -> Study:
        """The study while points are pending, or where none of them gave a number."""
        why = "" if self.pending else "every point diverged" if self.observed else "every point was skipped"
        return Study(
            asked=self.asked, pending=self.pending, more=self.more if self.pending else 0, failed=why
        )


def _explore(
    begin: Sequence[Point], room: int, space: Mapping[str, Range], lookup: Lookup, refine: bool = False
) -> _Explored:
    """Look these points up, then those beyond an edge that holds the minimum (or half steps) while there's room."""
    asked, todo = list(begin), list(begin)
    observed: dict[str, tuple[Point, float]] = {}
    while todo:
        values = [(point, lookup(point)) for point in todo]
        observed.update({key_of(p): (p, v) for p, v in values if v is not None and not math.isnan(v)})
        pending = [p for p, v in values if v is None]
        if pending:
            return _Explored(asked=asked, pending=pending, more=room, observed=observed)
        todo = [p for p in beyond_edge(space, observed) if key_of(p) not in observed][:room]
        if not todo and refine:
            todo = [p for p in _half_steps(space, observed) if key_of(p) not in observed][:room]
        asked.extend(todo)
        room -= len(todo)
    return _Explored(asked=asked, pending=[], more=0, observed=observed)


def _best(observed: Mapping[str, tuple[Point, float]]) -> Point | None:
    """The point with the least value; None where none is finite."""
    finite = [(v, p) for p, v in observed.values() if math.isfinite(v)]
    return min(finite, key=lambda vp: vp[0])[1] if finite else None


def _half_steps(space: Mapping[str, Range], observed: Mapping[str, tuple[Point, float]]) -> list[Point]:
    best = _best(observed)
    if best is None:
        return []
    return [
        {**best, path: best[path] * 2.0 ** (sign * r.step / 2)}
        for path, r in space.items()
        if r.log2 is not None
        for sign in (-1, 1)
    ]


def _choose(tuning: Tuning, space: Mapping[str, Range], found: _Explored, best: Point) -> Study:
    observed = found.observed
    chosen, notes, regret = dict(best), [], None
    at_edge = any(any(q[p] != best[p] for p in space) for q in beyond_edge(space, observed))
    # The first dimension (the learning rate) is fitted; the others take the best run's value.
    path, first = next(iter(space.items()))
    if first.log2 is not None:
        from harness.analysis.selection import select

        line = sorted(
            (p[path], v) for p, v in observed.values() if all(p[q] == best[q] for q in space if q != path)
        )
        fit = select([math.log2(x) for x, _ in line], [v for _, v in line], noise_sd=tuning.noise_sd)
        at_edge = at_edge or fit.at_edge is not None
        chosen[path] = 2.0 ** round(fit.log2_lr, SELECTION_DIGITS)
        regret = fit.regret
        notes.append(fit.reason)
    return Study(
        asked=found.asked,
        pending=[],
        more=0,
        chosen=Chosen(point=chosen, at_edge=at_edge, regret=regret, note="; ".join(notes), best_run=best),
    )


# --- Optuna --------------------------------------------------------------------------------------------------


def _seed(study_seed: int, where: str, number: int) -> int:
    # One seed for all asks would repeat points after a resume; each trial number has its own.
    text = f"{study_seed}|{where}|{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def _sampler(tuning: Tuning, seed: int) -> Any:
    import optuna

    classes: dict[Literal["tpe", "random"], Any] = {
        "tpe": optuna.samplers.TPESampler,
        "random": optuna.samplers.RandomSampler,
    }
    name = tuning.sampler.name
    assert name != "grid"
    try:
        return classes[name](seed=seed, **tuning.sampler.arguments)
    except TypeError as error:
        raise SuiteError(f"tuning.sampler.arguments {dict(tuning.sampler.arguments)}: {error}") from None


def _optuna_study(
    tuning: Tuning, space: Mapping[str, Range], lookup: Lookup, points: int, where: str
) -> Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize", sampler=_sampler(tuning, 0))
    asked: list[Point] = []
    observed: dict[str, tuple[Point, float]] = {}
    while len(asked) < points:
        trials = []
        for number in range(len(asked), min(len(asked) + tuning.round_size, points)):
            study.sampler = _sampler(tuning, _seed(tuning.seed, where, number))
            trial = study.ask()
            point: Point = {}
            for path, r in space.items():
                if r.log2 is not None:
                    point[path] = 2.0 ** round(trial.suggest_float(path, *r.log2), SELECTION_DIGITS)
                else:
                    point[path] = trial.suggest_categorical(path, r.grid())
            trials.append((trial, point))
        asked.extend(p for _, p in trials)
        values = [lookup(p) for _, p in trials]
        pending = [p for (_, p), v in zip(trials, values, strict=True) if v is None]
        if pending:
            return Study(asked=asked, pending=pending, more=points - len(asked))
        for (trial, point), value in zip(trials, values, strict=True):
            assert value is not None
            if math.isnan(value):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            observed[key_of(point)] = (point, value)
            worst = [v for _, v in observed.values() if math.isfinite(v)]
            # Divergence is told as clearly worse than anything finite: samplers need a number.
            study.tell(trial, value if math.isfinite(value) else (max(worst) + 10.0 if worst else 100.0))
    best = _best(observed)
    if best is None:
        return Study(asked=asked, pending=[], more=0, failed="every point diverged or was skipped")
    edge = any(
        r.log2 is not None and min(abs(math.log2(best[p]) - e) for e in r.log2) < 0.05
        for p, r in space.items()
    )
    return Study(
        asked=asked,
        pending=[],
        more=0,
        chosen=Chosen(point=dict(best), at_edge=edge, note=f"best of {len(asked)} points", best_run=best),
    )

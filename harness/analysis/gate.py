"""From pairs of records, before and after a change of code, to what the change did to each arm.

Equal bits are equal. Where bits differ, paired seeds decide. Three pairs alone know too little of their own noise,
so the reference's seed sd bounds it: a change that only moves rounding makes another trajectory of the same
distribution, and the difference of two of these has at most sqrt 2 of the seed sd. A change that only looks like
noise is listed, not judged; what did not run is missing, never equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import stats

from harness.analysis.means import combine, paired
from harness.outcome import Curve
from harness.records.agreement import CLOCKS
from harness.records.record import FINISHED, Record
from harness.workload import Metric

Status = Literal["identical", "changed", "regression", "improvement", "equivalent", "unresolved", "missing"]
FALSE_ALARMS = 0.01
"""Share of changes without an effect that may be called a regression or an improvement, over all arms together."""
NEGLIGIBLE = 0.1
"""A mean difference below this share of the seed sd is no regression, however sure."""
MARGIN = 2.0
"""Differences within this many seed sds are equivalent."""
LARGE = 4.0
"""Seed sds that a difference between numerics classes must exceed: rounding alone moves a trial by about one."""
TRAINING = ("train_loss", "gradient_norm")
"""Curves that evaluation has no part in."""
MEASURE = 1e-4
"""Relative difference of a result, after training whose curves agree, that rounding cannot explain: ten times the
digits that a reference keeps of curves."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What another seed does to a metric."""

    sd: float
    df: int
    """Degrees of freedom of this estimate."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One sentinel before and after."""

    cell: str
    seed: int
    before: Record | None
    after: Record | None
    """None: it was not run, or left no result; ``why`` says so."""
    why: str = ""
    altered: tuple[str, ...] = ()
    """What the suite asks otherwise in ``after``."""

    @property
    def compared(self) -> bool:
        """Whether both sides have an outcome that repeating would repeat."""
        return self.before is not None and self.after is not None and not self.absent

    @property
    def absent(self) -> str:
        """Why there is nothing to compare; empty if there is."""
        for side, record in (("before", self.before), ("now", self.after)):
            if record is None:
                return self.why or f"{side}: no result"
            if record.status == "skipped" or (side == "before" and record.status not in FINISHED):
                return f"{side}: {record.status}: {(record.reason.strip().splitlines() or [''])[-1]}"
        return ""

    @property
    def place(self) -> str:
        """In words."""
        return f"{self.cell} seed {self.seed}".strip()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a change did to an arm of a suite."""

    suite: str
    arm: str
    status: Status
    differences: tuple[str, ...] = ()
    """What differs in bits, in words."""
    metric: str = ""
    estimate: float | None = None
    """Mean difference after - before over cells, in the metric's unit; positive is worse."""
    ci95: tuple[float, float] | None = None
    num_pairs: int = 0
    seed_sd: float | None = None
    why: str = ""
    notes: tuple[str, ...] = field(default=())


def bit_differences(pair: Pair, metrics: Mapping[str, Metric]) -> list[str]:
    """What is not bit-identical: config, status, the metrics that a workload has compared, curves, probes, tables.

    What is there only after the change is an addition, not a difference; what is gone is one.
    """
    before, after = pair.before, pair.after
    assert before is not None and after is not None
    out = [f"the suite asks otherwise: {what}" for what in pair.altered]
    if before.status != after.status:
        out.append(f"status {before.status} -> {after.status}")
    for name, metric in metrics.items():
        a, b = before.metrics.get(name), after.metrics.get(name)
        if metric.compared and name in before.metrics and a != b:
            out.append(f"{name} {a!r} -> {b!r}")
    for kind, old, new in (
        ("curve", before.curves, after.curves), ("probe", before.probes, after.probes),
        ("table", before.tables, after.tables),
    ):  # fmt: skip
        for name, value in old.items():
            if CLOCKS.search(name):
                continue
            if name not in new:
                out.append(f"{kind} {name} is gone")
            elif _content(value) != _content(new[name]):
                out.append(f"{kind} {name}")
    return out


def _content(value: Any) -> Any:
    """Of a curve its points, of a table its rows without those columns that are clocks."""
    if isinstance(value, Curve):
        return value.steps, value.values
    kept = [i for i, c in enumerate(value.columns) if not CLOCKS.search(c)]
    return [value.columns[i] for i in kept], [[row[i] for i in kept] for row in value.rows]


def measure_changed(pair: Pair, metrics: Mapping[str, Metric]) -> str:
    """The first result that moved beyond rounding although training is the same, in words; empty if none did."""
    before, after = pair.before, pair.after
    assert before is not None and after is not None
    shared = [c for c in TRAINING if c in before.curves and c in after.curves]
    if not shared or before.numerics_class != after.numerics_class:
        return ""
    if any(_content(before.curves[c]) != _content(after.curves[c]) for c in shared):
        return ""
    for name in metrics:
        a, b = before.metrics.get(name), after.metrics.get(name)
        if _is_quality(name, metrics) and a is not None and b is not None and abs(b - a) > MEASURE * abs(a):
            return f"training is the same, {name} {a!r} -> {b!r}: the measure itself changed"
    return ""


def judge(
    suite: str,
    arm: str,
    pairs: Sequence[Pair],
    metrics: Mapping[str, Metric],
    noise: Noise | None,
    tests: int = 1,
) -> Judgement:
    """The arm's judgement from its pairs over cells and seeds.

    ``noise``: of the deciding metric over seeds, from the reference. ``tests``: arms whose bits differ in this
    call, over which false alarms are shared. Where before and after are of two numerics classes, bits differ
    anyhow, and only a large difference is called.
    """
    known = [p for p in pairs if p.compared]
    absent = [f"{p.place}: {p.absent}" if p.place else p.absent for p in pairs if not p.compared]
    base: dict[str, Any] = {
        "suite": suite, "arm": arm, "num_pairs": len(known), "seed_sd": noise.sd if noise else None,
        "differences": tuple(f"{p.place}: {what}" for p in known for what in bit_differences(p, metrics)),
    }  # fmt: skip
    if not known:
        why = absent[0] if absent else "no sentinel of it ran"
        return Judgement(status="missing", why=why, **base)
    found = _judged(known, metrics, noise, tests, base)
    if absent and found.status != "regression":
        why = f"{len(absent)} of {len(pairs)} sentinels have no result to compare: {absent[0]}"
        return Judgement(status="missing", why=why, **base)
    return found


def _judged(
    known: Sequence[Pair], metrics: Mapping[str, Metric], noise: Noise | None, tests: int, base: dict[str, Any]
) -> Judgement:
    if not base["differences"]:
        return Judgement(status="identical", **base)
    metric = decisive(metrics)
    for p in known:
        if why := _worse_at_once(p, metric) or measure_changed(p, metrics):
            return Judgement(status="regression", why=f"{p.place}: {why}", **base)
    if any(crosses(p) for p in known):
        return _across_classes(known, metric, metrics, noise, base)
    if metric is None or all(_worse(p, metric, metrics[metric]) == 0 for p in known):
        return Judgement(status="changed", why="no measure of quality differs", **base)
    return _by_seeds(known, metric, metrics[metric], noise, tests, base)


def undecided(pairs: Sequence[Pair], metrics: Mapping[str, Metric]) -> bool:
    """Whether further seeds could tell more: the deciding metric differs, in one class, and no pair decides."""
    metric, known = decisive(metrics), [p for p in pairs if p.compared]
    if metric is None or any(crosses(p) for p in known):
        return False
    if any(_worse_at_once(p, metric) or measure_changed(p, metrics) for p in known):
        return False
    return any(_worse(p, metric, metrics[metric]) != 0 for p in known)


def _worse_at_once(pair: Pair, metric: str | None) -> str:
    """What needs no seeds to be called worse: another ending, a result that is gone."""
    before, after = pair.before, pair.after
    assert before is not None and after is not None
    if before.status == "completed" and after.status != "completed":
        return f"{before.status} -> {after.status}"
    if metric and before.metrics.get(metric) is not None and after.metrics.get(metric) is None:
        return f"{metric} {before.metrics[metric]!r} -> no number" if after.status == "completed" else ""
    return ""


def crosses(pair: Pair) -> bool:
    """Whether its two sides are of two numerics classes."""
    before, after = pair.before, pair.after
    return before is not None and after is not None and before.numerics_class != after.numerics_class


def decisive(metrics: Mapping[str, Metric]) -> str | None:
    """The metric that decides where bits differ: the first of quality, as the workload declares them."""
    return next((name for name in metrics if _is_quality(name, metrics)), None)


def _is_quality(name: str, metrics: Mapping[str, Metric]) -> bool:
    """Compared, and a result to readers or capped where a trial diverged; a count of FLOPs is neither."""
    return name in metrics and metrics[name].compared and bool(metrics[name].shown or metrics[name].cap)


def _worse(pair: Pair, metric: str, about: Metric) -> float | None:
    """By how much the metric is worse after than before; None where one has no number."""
    assert pair.before is not None and pair.after is not None
    a, b = pair.before.metrics.get(metric), pair.after.metrics.get(metric)
    if a is None or b is None:
        return None
    return (b - a) * (1.0 if about.better == "lower" else -1.0)


def _across_classes(
    pairs: Sequence[Pair],
    metric: str | None,
    metrics: Mapping[str, Metric],
    noise: Noise | None,
    base: dict[str, Any],
) -> Judgement:
    said = "another numerics class: only large differences show"
    if metric is None or noise is None or not noise.sd:
        return Judgement(status="unresolved", why=f"{said}; no seed sd to tell one by", **base)
    values = [v for p in pairs if (v := _worse(p, metric, metrics[metric])) is not None]
    if not values:
        return Judgement(status="unresolved", metric=metric, why=f"{said}; no pair has a number", **base)
    estimate = float(np.mean(values))
    base |= {"metric": metric, "estimate": estimate}
    if abs(estimate) > LARGE * noise.sd:
        why = f"beyond {LARGE:g} seed sds, in another numerics class"
        return Judgement(status="regression" if estimate > 0 else "improvement", why=why, **base)
    return Judgement(status="unresolved", why=said, **base)


def _by_seeds(
    pairs: Sequence[Pair], metric: str, about: Metric, noise: Noise | None, tests: int, base: dict[str, Any]
) -> Judgement:
    cells: dict[str, list[float]] = {}
    for p in pairs:
        if (value := _worse(p, metric, about)) is not None:
            cells.setdefault(p.cell, []).append(value)
    if not cells:
        return Judgement(status="changed", metric=metric, why="bits differ; no pair has a number", **base)
    estimate = float(np.mean([np.mean(values) for values in cells.values()]))
    base |= {"metric": metric, "estimate": estimate}
    rules = _standard_errors(cells, noise)
    if not rules:
        return Judgement(status="changed", why="bits differ; one seed, and no seed sd to judge it by", **base)

    def half_width(error: float) -> float:
        # The narrower of the rules' intervals, each at its share of the error.
        return min(float(stats.t.ppf(1 - error / 2 / len(rules), df)) * se for se, df in rules)

    half = half_width(0.05)
    base["ci95"] = (estimate - half, estimate + half)
    scale = noise.sd if noise and noise.sd else float(np.sqrt(np.mean([np.var(v, ddof=1) for v in cells.values()])))
    if abs(estimate) > half_width(FALSE_ALARMS / max(tests, 1)) and abs(estimate) > NEGLIGIBLE * scale:
        return Judgement(status="regression" if estimate > 0 else "improvement", **base)
    if abs(estimate) + half_width(0.10) < MARGIN * scale:
        return Judgement(status="equivalent", why=f"within {MARGIN:g} seed sds", **base)
    return Judgement(status="unresolved", why="more seeds would be needed to tell it from noise", **base)


def _standard_errors(cells: Mapping[str, Sequence[float]], noise: Noise | None) -> list[tuple[float, float]]:
    """(standard error of the mean over cells, df) by the reference's bound, and by the pairs' own spread."""
    out = []
    whole = [paired(cell, values) for cell, values in cells.items() if len(values) > 1]
    if noise and noise.sd:
        share = sum(1 / len(values) for values in cells.values()) / len(cells) ** 2
        # Pairs that scatter beyond the bound were not moved by rounding alone: then their own spread counts.
        scatter = math.sqrt(sum(c.sd**2 for c in whole) / len(whole)) if whole else 0.0
        out.append((math.sqrt(share) * max(math.sqrt(2) * noise.sd, scatter), float(noise.df)))
    if len(whole) == len(cells):
        _, se, df = combine([c.mean for c in whole], [c.variance for c in whole], [c.df for c in whole])
        out.append((float(se), float(df) if math.isfinite(df) else sum(c.df for c in whole)))
    return out

"""From pairs of records, before and after a change of code, to what the change did to each arm.

Equal bits are equal. Where bits differ, paired seeds decide: one seed never could, since its 90 % half-width is 2.3
times the seed sd. A change that only looks like noise is listed, not judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import stats

from harness.analysis.means import combine, paired
from harness.records.record import Record
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


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One sentinel before and after."""

    cell: str
    seed: int
    before: Record
    after: Record | None
    """None: it was not run, or left no result."""


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


def bit_differences(before: Record, after: Record, metrics: Mapping[str, Metric]) -> list[str]:
    """What is not bit-identical: status, the metrics that a workload has compared, probes and tables."""
    out = []
    if before.status != after.status:
        out.append(f"status {before.status} -> {after.status}")
    for name, metric in metrics.items():
        a, b = before.metrics.get(name), after.metrics.get(name)
        if metric.compared and name in before.metrics and a != b:
            out.append(f"{name} {a!r} -> {b!r}")
    for name, table in before.probes.items():
        if name in after.probes and table.rows != after.probes[name].rows:
            out.append(f"probe {name}")
    return out


def evaluation_alone(before: Record, after: Record) -> bool:
    """Whether the training of both is bit-identical, so that only the measure can have changed."""
    shared = [c for c in TRAINING if c in before.curves and c in after.curves]
    return bool(shared) and all(
        before.curves[c].steps == after.curves[c].steps and before.curves[c].values == after.curves[c].values
        for c in shared
    )


def judge(
    suite: str,
    arm: str,
    pairs: Sequence[Pair],
    metrics: Mapping[str, Metric],
    seed_sd: float | None,
    tests: int = 1,
) -> Judgement:
    """The arm's judgement from its pairs over cells and seeds.

    ``seed_sd``: of the first compared metric over seeds, from the reference. ``tests``: arms judged in this call,
    over which false alarms are shared. Where before and after are of two numerics classes, bits differ anyhow, and
    only a large difference is called.
    """
    known = [p for p in pairs if p.after is not None]
    if not known:
        return Judgement(suite=suite, arm=arm, status="missing", why="no sentinel of it ran")
    said = tuple(
        f"{p.cell} seed {p.seed}: {what}"
        for p in known
        if p.after is not None
        for what in bit_differences(p.before, p.after, metrics)
    )
    base: dict[str, Any] = {
        "suite": suite, "arm": arm, "differences": said, "num_pairs": len(known), "seed_sd": seed_sd
    }  # fmt: skip
    if not said:
        return Judgement(status="identical", **base)
    for p in known:
        assert p.after is not None
        if p.before.status == "completed" and p.after.status != "completed":
            why = f"{p.cell} seed {p.seed}: {p.before.status} -> {p.after.status}"
            return Judgement(status="regression", why=why, **base)
        losses = [d for d in bit_differences(p.before, p.after, metrics) if _of_quality(d, metrics)]
        if losses and p.before.numerics_class == p.after.numerics_class and evaluation_alone(p.before, p.after):
            why = f"{p.cell} seed {p.seed}: training is bit-identical, {losses[0]}: the measure itself changed"
            return Judgement(status="regression", why=why, **base)
    metric = decisive(metrics)
    if any(p.before.numerics_class != p.after.numerics_class for p in known if p.after is not None):
        return _across_classes(known, metric, metrics, seed_sd, base)
    if metric is None or not any(_of_quality(d.partition(": ")[2], metrics) for d in said):
        return Judgement(status="changed", why="no measure of quality differs", **base)
    return _by_seeds(known, metric, metrics[metric], seed_sd, tests, base)


def decisive(metrics: Mapping[str, Metric]) -> str | None:
    """The metric that decides where bits differ: the first of quality, as the workload declares them."""
    return next((name for name in metrics if _is_quality(name, metrics)), None)


def _is_quality(name: str, metrics: Mapping[str, Metric]) -> bool:
    """Compared, and a result to readers or capped where a trial diverged; a count of FLOPs is neither."""
    return name in metrics and metrics[name].compared and bool(metrics[name].shown or metrics[name].cap)


def _of_quality(difference: str, metrics: Mapping[str, Metric]) -> bool:
    name = difference.partition(" ")[0]
    return name == "status" or _is_quality(name, metrics)


def _across_classes(
    pairs: Sequence[Pair],
    metric: str | None,
    metrics: Mapping[str, Metric],
    seed_sd: float | None,
    base: dict[str, Any],
) -> Judgement:
    said = "another numerics class: only large differences show"
    if metric is None or not seed_sd:
        return Judgement(status="unresolved", why=f"{said}; no seed sd to tell one by", **base)
    worse = 1.0 if metrics[metric].better == "lower" else -1.0
    values = [
        (b - a) * worse
        for p in pairs
        if p.after is not None
        and (a := p.before.metrics.get(metric)) is not None
        and (b := p.after.metrics.get(metric)) is not None
    ]
    if not values:
        return Judgement(status="unresolved", metric=metric, why=f"{said}; no pair has a number", **base)
    estimate = float(np.mean(values))
    base |= {"metric": metric, "estimate": estimate}
    if abs(estimate) > LARGE * seed_sd:
        why = f"beyond {LARGE:g} seed sds, in another numerics class"
        return Judgement(status="regression" if estimate > 0 else "improvement", why=why, **base)
    return Judgement(status="unresolved", why=said, **base)


def _by_seeds(
    pairs: Sequence[Pair], metric: str, about: Metric, seed_sd: float | None, tests: int, base: dict[str, Any]
) -> Judgement:
    cells: dict[str, list[float]] = {}
    for p in pairs:
        assert p.after is not None
        a, b = p.before.metrics.get(metric), p.after.metrics.get(metric)
        if a is not None and b is not None:
            cells.setdefault(p.cell, []).append((b - a) * (1.0 if about.better == "lower" else -1.0))
    whole = [paired(cell, values) for cell, values in cells.items() if len(values) >= 2]
    if not whole:
        return Judgement(status="changed", metric=metric, why="bits differ; one seed cannot judge it", **base)
    mean, se, df = combine([c.mean for c in whole], [c.variance for c in whole], [c.df for c in whole])
    estimate, se, df = float(mean), float(se), float(df) if math.isfinite(df) else float(sum(c.df for c in whole))
    half = float(stats.t.ppf(0.975, df)) * se
    base |= {"metric": metric, "estimate": estimate, "ci95": (estimate - half, estimate + half)}
    sure = float(stats.t.ppf(1 - FALSE_ALARMS / 2 / max(tests, 1), df)) * se
    scale = seed_sd if seed_sd else float(np.sqrt(np.mean([c.sd**2 for c in whole])))
    if abs(estimate) > sure and abs(estimate) > NEGLIGIBLE * scale:
        return Judgement(status="regression" if estimate > 0 else "improvement", **base)
    if abs(estimate) + float(stats.t.ppf(0.95, df)) * se < MARGIN * scale:
        return Judgement(status="equivalent", why=f"within {MARGIN:g} seed sds", **base)
    return Judgement(status="unresolved", why="more seeds would be needed to tell it from noise", **base)

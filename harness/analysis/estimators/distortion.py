"""Estimators of codecs: quality paired by photograph, at points or at equal rate, and ladders of points."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence
from harness.analysis.photographs import Curves, breakdown, curves, part_of
from harness.analysis.registry import Design, Facts, estimator
from harness.data.photographs import PHOTOGRAPHS

THESE = "under these two denoisers: each photograph is seen by the one that never trained on it"
RATE, QUALITY, POINT = "bits_per_pixel_file", "psnr", "point"


def _by_photograph(design: Design) -> float:
    """One difference a photograph, all of them held out once."""
    chosen = [p for p in PHOTOGRAPHS if p.natural or not design.arguments.get("natural", False)]
    return len(chosen) - 1.0


def _estimate(
    evidence: Evidence,
    parts: list[Part],
    table: list[dict[str, Any]],
    metric: str,
    used: list[Curves],
) -> Estimate:
    identities = list(dict.fromkeys(i for c in used for i in c.identities))
    return Estimate(
        parts=tuple(parts), unit=evidence.unit(metric), num_seeds=min(c.seeds for c in used),
        num_trials=len(identities), table=table,
        notes=[f"interval over {table[0]['n']} photographs, {THESE}"], identities=identities,
    )  # fmt: skip


@estimator(Facts(df=_by_photograph, reads=("trials", "tables")))
def quality_difference(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str = QUALITY,
    at: Mapping[str, Any] | None = None,
    baseline_at: Mapping[str, Any] | None = None,
    by: str = POINT,
    natural: bool = False,
) -> Estimate:
    """Mean over photographs of an arm's quality minus a baseline's, each at one point, at whatever rates.

    ``at``: columns that pick the arm's point; ``baseline_at``: those that pick the baseline's, default as ``at``;
    ``by``: the axis whose values are points; ``natural``: whether natural photographs alone count. Seeds are
    codebooks: averaged within a photograph.
    """
    mine = curves(evidence, arm, RATE, metric, by, at, natural)
    base = curves(evidence, baseline, RATE, metric, by, at if baseline_at is None else baseline_at, natural)
    found = _differences(evidence, mine, base, by)
    part = part_of(evidence, found, f"{arm!r} and {baseline!r}")
    return _estimate(evidence, [part], breakdown(found, mine, ""), metric, [mine, base])


@estimator(Facts(df=_by_photograph, reads=("trials", "tables")))
def quality_at_rate(
    evidence: Evidence,
    arm: str,
    baseline: str,
    rates: list[float] | None = None,
    at: Mapping[str, Any] | None = None,
    metric: str = QUALITY,
    rate: str = RATE,
    by: str = POINT,
    natural: bool = False,
) -> Estimate:
    """Mean over photographs of an arm's quality minus a baseline's at equal rate; a part for each rate or point.

    ``rates``: bits a pixel at which both curves are read, or null for the arm's own points, at each photograph's
    own rate; ``at``: columns that pick these points; ``rate``: column of the rate; ``by``: the axis whose values
    are points; ``natural``: whether natural photographs alone count. Linear in ln rate; refused outside a curve.
    """
    base = curves(evidence, baseline, rate, metric, by, None, natural)
    mine = curves(evidence, arm, rate, metric, by, at, natural)
    _same_photographs(evidence, mine, base)
    wanted: list[tuple[str, dict[str, float], dict[str, float]]] = []
    if rates is not None:
        for value in rates:
            logs = dict.fromkeys(mine.points, float(np.log(value)))
            wanted.append((f"{value:g} bits a pixel", logs, mine.at(evidence, logs, rate)))
    else:
        for i in range(len(next(iter(mine.points.values()))[0])):
            logs = {image: float(x[i]) for image, (x, _) in mine.points.items()}
            own = {image: float(y[i]) for image, (_, y) in mine.points.items()}
            mean = float(np.exp(np.mean(list(logs.values()))))
            wanted.append((f"{mean:.3g} bits a pixel", logs, own))
    parts, table = [], []
    for label, logs, own in wanted:
        other = base.at(evidence, logs, rate)
        found = {image: own[image] - other[image] for image in own}
        parts.append(part_of(evidence, found, f"{arm!r} and {baseline!r}", label))
        table += breakdown(found, mine, label)
    return _estimate(evidence, parts, table, metric, [mine, base])


@estimator(Facts(df=_by_photograph, reads=("trials", "tables")))
def ladder_steps(
    evidence: Evidence,
    arm: str,
    points: list[str],
    metric: str = QUALITY,
    by: str = POINT,
    natural: bool = False,
) -> Estimate:
    """What each step up a ladder of points gains, mean over photographs: a part for each step.

    ``points``: values of the axis, the lowest first; ``by``: that axis; ``natural``: whether natural photographs
    alone count.
    """
    if len(points) < 2:
        raise evidence.refuse(f"{len(points)} points make no step", "name two or more, the lowest first")
    rungs = [curves(evidence, arm, RATE, metric, by, {by: point}, natural) for point in points]
    parts, table = [], []
    for (low, before), (high, after) in pairwise(zip(points, rungs, strict=True)):
        label = f"{low} to {high}"
        found = _differences(evidence, after, before, by)
        parts.append(part_of(evidence, found, label, label))
        table += breakdown(found, after, label)
    return _estimate(evidence, parts, table, metric, rungs)


def _differences(evidence: Evidence, a: Curves, b: Curves, by: str) -> dict[str, float]:
    """Photograph -> a's quality minus b's, of one point each. ClaimError where either has several."""
    _same_photographs(evidence, a, b)
    for side in (a, b):
        if any(len(y) != 1 for _, y in side.points.values()):
            raise evidence.refuse(f"arm {side.arm!r} was encoded at several points", f"pick one: at: {{{by}: ...}}")
    return {image: float(a.points[image][1][0] - b.points[image][1][0]) for image in a.points}


def _same_photographs(evidence: Evidence, a: Curves, b: Curves) -> None:
    """ClaimError where one of two arms encoded photographs that the other did not."""
    if alone := sorted(set(a.points) ^ set(b.points)):
        raise evidence.refuse(
            f"only one of {a.arm!r} and {b.arm!r} encoded {', '.join(alone)}", "run both on every fold"
        )

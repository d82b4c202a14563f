"""Estimators of cost and quality together: the gap to another arm's frontier, and times that may not be reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import cell_name, evaluation, filtered
from harness.analysis.estimate import Estimate, Part
from harness.analysis.estimators.quality import mean_ratio
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.registry import Columns, Design, Expected, Facts, Noise, by_seed, estimator


def _error(design: Design, noise: Noise) -> Expected:
    return Expected(se=noise.sd / float(np.sqrt(design.seeds)))


@estimator(Facts(df=by_seed, error=_error, in_nats=True))
def frontier_gap(
    evidence: Evidence,
    arm: str,
    frontier: str,
    metric: str = "test_loss",
    cost: str = "expert_evaluations",
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
    unit: str | None = None,
) -> Estimate:
    """Metric of an arm minus that of the frontier arm at the arm's own measured cost, a part a cell.

    Seed by seed: the frontier's cells, linear in ln cost between them, at the cost that the trial had. Refused
    outside the frontier's range, where nothing was measured.
    """
    axes = evidence.cell_axes(by)
    needed = ["arm", "role", "seed", "status", "identity", metric, cost, *axes]
    trials = columns_needed(evidence, evidence.trials, needed, "trials")
    rows = trials[(trials["role"] == "evaluation") & (trials["status"] == "completed")]
    cells, notes = evaluation(evidence, arm, metric, axes, where)
    curve, more = evaluation(evidence, frontier, metric, axes)
    if len(curve) < 2:
        raise evidence.refuse(f"arm {frontier!r} ran in {len(curve)} cells", "a frontier needs two or more")
    lines = _lines(rows[rows["arm"] == frontier], metric, cost)
    mine = filtered(evidence, rows[rows["arm"] == arm], where)
    found = {}
    for key in cells:
        values = dict(zip(axes, key if isinstance(key, tuple) else (key,), strict=True))
        own = mine[mine[axes].eq(pd.Series(values)).all(axis=1)] if axes else mine
        name = cell_name(key)
        found[name] = [
            _gap(evidence, f"{arm} in {name}", row, lines[int(row["seed"])], metric, cost)
            for row in own.to_dict("records")
            if int(row["seed"]) in lines
        ]
        if len(found[name]) < 2:
            told = f"{arm} in {name} has {len(found[name])} seeds in common with {frontier!r}"
            raise evidence.refuse(told, "run both arms with two or more")
    sds = {name: float(np.std([g for g, _ in gaps], ddof=1)) for name, gaps in found.items()}
    parts = tuple(
        Part(
            value=float(np.mean([g for g, _ in gaps])), se=sds[name] / len(gaps) ** 0.5, df=len(gaps) - 1.0,
            label=name,
        )
        for name, gaps in found.items()
    )  # fmt: skip
    identities = list(dict.fromkeys(i for gaps in found.values() for _, used in gaps for i in used))
    table = [
        {"cell": p.label, "gap": p.value, "sd": sds[p.label], "n": len(found[p.label])} for p in parts
    ]  # fmt: skip
    return Estimate(
        parts=parts, unit=evidence.unit(metric) if unit is None else unit, num_sizes=len(parts),
        num_seeds=min(map(len, found.values())), num_trials=len(identities),
        seed_sd=float(np.sqrt(np.mean(np.square(list(sds.values()))))), table=table,
        notes=[*notes, *(n for n in more if n not in notes)], identities=identities,
    )  # fmt: skip


Line = tuple[np.ndarray, np.ndarray, list[str]]
"""ln cost, metric and identities of one seed's frontier, the cheapest first."""


def _gap(
    evidence: Evidence, name: str, trial: Mapping[Any, Any], line: Line, metric: str, cost: str
) -> tuple[float, list[str]]:
    """(metric over the frontier's at the trial's own cost, identities). ClaimError outside the frontier's range."""
    x, y, used = line
    at = float(np.log(trial[cost]))
    if not x[0] <= at <= x[-1]:
        low, high = np.exp(x[0]), np.exp(x[-1])
        raise evidence.refuse(
            f"{name} spent {trial[cost]:.3g} ({cost}), outside the frontier's {low:.3g} to {high:.3g}",
            "run the frontier's arm in a cell beyond it",
        )
    return float(trial[metric]) - float(np.interp(at, x, y)), [str(trial["identity"]), *used]


def _lines(rows: pd.DataFrame, metric: str, cost: str) -> dict[int, Line]:
    """Seed -> its frontier, of the seeds that ran in two cells or more."""
    out = {}
    for seed, group in rows.groupby("seed"):
        own = group.sort_values(cost)
        if len(own) >= 2:
            x, y = np.log(own[cost].to_numpy(dtype=float)), own[metric].to_numpy(dtype=float)
            out[int(str(seed))] = (x, y, [str(i) for i in own["identity"]])
    return out


@estimator(Facts(df=by_seed))
def time_ratio(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    reached: str,
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
) -> Estimate:
    """Ratio of two arms' times to an event, as ``mean_ratio``; refused where a trial never got there.

    ``reached``: metric that is 1 where the event came. A time that did not come is known only from below, and the
    ratio with it.
    """
    columns = columns_needed(evidence, evidence.trials, ["arm", "role", "status", reached], "trials")
    for name in (arm, baseline):
        rows = filtered(evidence, columns[(columns["arm"] == name) & (columns["role"] == "evaluation")], where)
        rows = rows[rows["status"] == "completed"]
        if missed := int((rows[reached] < 1).sum()):
            raise evidence.refuse(
                f"{missed} of {len(rows)} trials of {name!r} never got there, so the ratio is a bound",
                "train longer, or ask for an event that comes",
            )
    return mean_ratio(evidence, arm=arm, baseline=baseline, metric=metric, by=by, where=where)

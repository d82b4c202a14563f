"""Estimators over seeds: shares of them, for arms of which some seeds leave a plateau, and interactions.

A mean of two kinds of outcome says how many seeds were of which kind, and t takes their distance for noise: what
can be said of such arms is the share of seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.analysis.cells import Seeds, cell_name, evaluation
from harness.analysis.estimate import Estimate, Part
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.means import judged_df, paired, pooled_sd
from harness.analysis.over_cells import form_rows, mean_over_cells
from harness.analysis.registry import Columns, Design, Facts, by_seed, estimator

Values = dict[tuple[int, str], float]
"""(seed, numerics class) -> number."""


@estimator(Facts(df=by_seed, uses=("curves",)))
def share_of_seeds(
    evidence: Evidence,
    arm: str,
    baseline: str | None = None,
    than: float | None = None,
    metric: str = "test_loss",
    curve: str | None = None,
    to_step_share: float = 1.0,
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
) -> Estimate:
    """Share of seeds in which arm's number is below the baseline's at the same seed, or below another number.

    ``than``: that number, in the place of a baseline. ``curve``: a training curve, read in the place of the metric.
    ``to_step_share``: share of training at which it is read, or last before. Interval and p values are binomial
    over seeds (Clopper-Pearson); seeds of several cells count alike.
    """
    if (baseline is None) == (than is None):
        raise evidence.refuse("a share of seeds is below one thing", "give either baseline: or than:")
    axes = evidence.cell_axes(by)
    seeds, notes = evaluation(evidence, arm, metric, axes, where)
    other: dict[Any, Seeds] = {}
    if baseline is not None:
        other, more = evaluation(evidence, baseline, metric, axes, where)
        notes += [n for n in more if n not in notes]
    table, identities, below, count = [], [], 0, 0
    fewest = len(next(iter(seeds.values())).values)
    for key, cell in seeds.items():
        values = _numbers(evidence, arm, cell, curve, to_step_share)
        bounds = dict.fromkeys(values, than)
        if baseline is not None:
            bounds = dict(_numbers(evidence, baseline, other[key], curve, to_step_share)) if key in other else {}
            identities += other[key].identities if key in other else []
        common = [k for k in values if k in bounds]
        identities += cell.identities
        won = sum(values[k] < bounds[k] for k in common)  # type: ignore[operator]
        below, count, fewest = below + won, count + len(common), min(fewest, len(common))
        table.append({"cell": cell_name(key), "below": won, "seeds": len(common)})
    if not count:
        raise evidence.refuse(f"{arm!r} and {baseline!r} share no seed", "run both arms with the same seeds")
    with np.errstate(divide="ignore"):
        value = float(np.log(below) - np.log(count - below))
    notes.append(f"{below} of {count} seeds: binomial interval (Clopper-Pearson), no mean over kinds of outcome")
    return Estimate(
        parts=(Part(value=value, se=0.0, df=np.inf, count=(float(below), count)),),
        unit="share of seeds",
        scale="logit",
        num_sizes=len(table),
        num_seeds=fewest,
        num_trials=len(identities),
        table=table,
        notes=notes,
        identities=identities,
    )


def _numbers(evidence: Evidence, arm: str, cell: Seeds, curve: str | None, at: float) -> Values:
    """Each seed's metric, or its curve at this share of training."""
    if curve is None:
        return cell.values
    rows = columns_needed(evidence, evidence.curves, ["identity", "curve", "step", "value"], "curves")
    rows = rows[(rows["curve"] == curve) & rows["identity"].isin(cell.identities)]
    if rows.empty:
        raise evidence.refuse(f"no curve {curve!r} was recorded for arm {arm!r}", "name one that was")
    end = rows["step"].max()
    points = rows[rows["step"] <= at * end].sort_values("step").groupby("identity")["value"].last()
    if len(points) < len(cell.trials):
        raise evidence.refuse(
            f"curve {curve!r} has no point in the first {at:g} of training in some seed of {arm!r}",
            "evaluate more often, or take a later share",
        )
    return {pair: float(points[identity]) for pair, identity in cell.trials.items()}


def _df(design: Design) -> float:
    return judged_df(design.sizes, design.seeds, design.arguments.get("across_sizes"))


@estimator(Facts(df=_df, in_nats=True))
def difference_of_differences(
    evidence: Evidence,
    arm: str,
    baseline: str,
    other_arm: str,
    other_baseline: str,
    metric: str = "test_loss",
    by: Columns | None = None,
    where: Mapping[str, Any] | None = None,
    across_sizes: bool | None = None,
    unit: str | None = None,
) -> Estimate:
    """(arm - baseline) - (other_arm - other_baseline), one number a seed that all four have: an interaction.

    ``other_arm``: the arm under what is thought to change the difference. ``other_baseline``: its baseline.
    """
    axes, names = evidence.cell_axes(by), (arm, baseline, other_arm, other_baseline)
    found, notes = [], []
    for name in names:
        seeds, said = evaluation(evidence, name, metric, axes, where)
        found.append(seeds)
        notes += [n for n in said if n not in notes]
    cells, identities = [], []
    for key in [k for k in found[0] if all(k in other for other in found)]:
        group = [seeds[key] for seeds in found]
        common = [k for k in group[0].values if all(k in g.values for g in group)]
        if len(common) < 2:
            notes.append(f"{cell_name(key)}: {len(common)} seeds that all four arms have, 2 needed; left out")
            continue
        a, b, c, d = (np.array([g.values[k] for k in common]) for g in group)
        cells.append(paired(cell_name(key), a - b - (c - d)))
        identities += [g.trials[k] for g in group for k in common if k in g.trials]
    if not cells:
        raise evidence.refuse(
            f"no cell has two seeds that {', '.join(map(repr, names))} all have", "run the four with the same seeds"
        )
    mean, said = mean_over_cells(evidence, cells, across_sizes=across_sizes)
    if not mean.se > 0:
        raise evidence.refuse("the interaction is the same in all seeds", "check that seeds change the trials")
    return Estimate(
        parts=(Part(value=mean.value, se=mean.se, df=mean.df),),
        unit=evidence.unit(metric) if unit is None else unit,
        num_sizes=len(cells),
        num_seeds=min(c.n for c in cells),
        num_trials=len(identities),
        seed_sd=pooled_sd(cells),
        table=[{"cell": c.name, "difference": c.mean, "sd": c.sd, "n": c.n} for c in cells],
        forms=form_rows(mean, "linear"),
        notes=notes + said,
        identities=identities,
    )

"""Estimators over model sizes: compute at equal loss, and its drift with scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from harness.analysis import compute_ratio as law
from harness.analysis.comparison import Comparison, cell_name, compare
from harness.analysis.estimate import Estimate, Evidence, Part, columns_needed, estimator

QUIET_SD = 0.005
"""Below this sd of a paired difference (nats), and with five sizes, curvature would count as scatter in the
shared power law: the law with a floor becomes the default."""
LEAST_SIZES, LEAST_DECADES, LEAST_SIZES_DRIFT = 4, 1.0, 6


def _scaling(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    compute: str,
    size: str | None,
    where: Mapping[str, Any] | None,
    least: int,
) -> tuple[Comparison, np.ndarray, np.ndarray]:
    """The comparison with ln C and mean loss, each (2, J), sizes in ascending compute."""
    columns_needed(evidence, evidence.trials, [compute], "trials")
    c = compare(evidence, arm, baseline, metric, None if size is None else [size], where, extra=[compute], least=1)
    cost = np.array([[s[k].mean(compute) for k in c.keys] for s in (c.arm, c.baseline)])
    if not np.isfinite(cost).all() or (cost <= 0).any():
        raise evidence.refuse(f"{compute!r} is missing or not positive in some size", "name a column of FLOPs")
    order = np.argsort(cost[1])
    c.keys = [c.keys[i] for i in order]
    logs = np.log(cost[:, order])
    loss = np.array([[np.mean(c.common[k][i]) for k in c.keys] for i in (0, 1)])
    decades = (logs[1, -1] - logs[1, 0]) / np.log(10)
    if len(c.keys) < least or decades < LEAST_DECADES:
        raise evidence.refuse(
            f"{len(c.keys)} sizes over {decades:.2f} decades of compute"
            + (f" ({'; '.join(c.notes)})" if c.notes else ""),
            f"run at least {least} sizes over at least {LEAST_DECADES:g} decade",
        )
    return c, logs, loss


@estimator
def compute_ratio(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str = "test_loss",
    compute: str = "flops",
    size: str | None = None,
    where: Mapping[str, Any] | None = None,
    form: str = "auto",
) -> Estimate:
    """Compute that arm needs over compute that baseline needs, at equal loss, on the measured sizes.

    ``form``: shared_power_law, shared_law_with_floor, fit_free, or auto (the power law; with a floor where the
    sd of a paired difference is below .005 nats and there are five sizes). All three are in ``forms``.
    """
    if form != "auto" and form not in law.FORMS:
        raise evidence.refuse(f"form {form!r} is not known", f"choose from auto, {', '.join(law.FORMS)}")
    c, logs, loss = _scaling(evidence, arm, baseline, metric, compute, size, where, LEAST_SIZES)
    pairs = [u - v for u, v in c.common.values() if len(u) == len(v) and len(u) > 1]
    sd = float(np.sqrt(np.mean([d.var(ddof=1) for d in pairs]))) if pairs else float("nan")
    if form == "auto":
        form = "shared_law_with_floor" if sd < QUIET_SD and len(c.keys) >= 5 else "shared_power_law"
    parts, rows = {}, []
    for name, function in law.FORMS.items():
        value, se, df = law.jackknife(function, logs, loss)
        if np.isfinite(value) and np.isfinite(se) and se > 0:
            parts[name] = Part(value=float(value), se=float(se), df=df, label=name)
        rows.append(_form_row(name, parts.get(name), name == form))
    if form not in parts:
        low, high = law.common_range(logs, loss)
        raise evidence.refuse(
            f"{form} has no answer: the losses of {arm!r} and {baseline!r} "
            + ("share no range" if low >= high else "do not fall with compute in every subset of the sizes"),
            "run sizes whose losses overlap and fall",
        )
    g = float(law.exponent(logs, loss))
    table = [
        {
            "cell": cell_name(k),
            "compute": float(np.exp(logs[1, i])),
            arm: loss[0, i],
            baseline: loss[1, i],
            "difference": loss[0, i] - loss[1, i],
            "n": min(map(len, c.common[k])),
        }
        for i, k in enumerate(c.keys)
    ]
    notes = [*c.notes, f"{form}; exponent of the arms' mean loss {g:.3f}"]
    if len(parts) < len(law.FORMS):
        notes.append(f"no answer from: {', '.join(sorted(set(law.FORMS) - set(parts)))}")
    return Estimate(
        parts=(parts[form],),
        unit="ratio of compute",
        log=True,
        num_sizes=len(c.keys),
        num_seeds=c.num_seeds,
        num_trials=c.num_trials,
        seed_sd=None if np.isnan(sd) else sd,
        estimators_agree=_agree(list(parts.values()), parts[form]),
        table=table,
        forms=rows,
        notes=notes,
        identities=c.identities,
        arms=(arm, baseline),
    )


def _form_row(name: str, part: Part | None, used: bool) -> dict[str, Any]:
    if part is None:
        return {"form": name, "ratio": None, "low": None, "high": None, "used": used}
    half = stats.t.ppf(0.975, part.df) * part.se
    return {
        "form": name,
        "ratio": float(np.exp(part.value)),
        "low": float(np.exp(part.value - half)),
        "high": float(np.exp(part.value + half)),
        "used": used,
    }


def _agree(parts: list[Part], chosen: Part) -> bool:
    """Every form's point on the chosen one's side of 1, and inside its interval or containing its point."""
    half = {p.label: stats.t.ppf(0.975, p.df) * p.se for p in parts}
    return all(
        np.sign(p.value) == np.sign(chosen.value)
        or (abs(p.value) <= half[p.label] and abs(chosen.value) <= half[chosen.label])
        for p in parts
    ) and all(abs(p.value - chosen.value) <= max(half[p.label], half[chosen.label]) for p in parts)


@estimator
def ratio_drift(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str = "test_loss",
    compute: str = "flops",
    size: str | None = None,
    where: Mapping[str, Any] | None = None,
) -> Estimate:
    """Change of the ln compute ratio per decade of compute: above 0, the advantage shrinks with scale.

    Shared floor, free exponents: separate power laws invent a drift.
    """
    c, logs, loss = _scaling(evidence, arm, baseline, metric, compute, size, where, LEAST_SIZES_DRIFT)
    value, se, df = law.jackknife(law.drift_per_decade, logs, loss)
    if not (np.isfinite(value) and np.isfinite(se) and se > 0):
        raise evidence.refuse(
            "the fit with a floor has no answer for some subset of the sizes", "run more sizes or seeds"
        )
    return Estimate(
        parts=(Part(value=float(value), se=float(se), df=df),),
        unit="ln ratio per decade of compute",
        num_sizes=len(c.keys),
        num_seeds=c.num_seeds,
        num_trials=c.num_trials,
        notes=c.notes,
        identities=c.identities,
        table=[
            {"cell": cell_name(k), "compute": float(np.exp(logs[1, i])), arm: loss[0, i], baseline: loss[1, i]}
            for i, k in enumerate(c.keys)
        ],
        arms=(arm, baseline),
    )

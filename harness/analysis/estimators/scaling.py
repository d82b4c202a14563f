"""Estimators over model sizes: compute at equal loss, and its drift with scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from harness.analysis import compute_ratio as law
from harness.analysis.cells import cell_name
from harness.analysis.estimate import Estimate, Part, form_row, interval
from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.pairing import PairedArms, pair_arms
from harness.analysis.registry import Design, Expected, Facts, Noise, by_size, estimator
from harness.analysis.wall_clock import seconds_of

QUIET_SD = 0.005
"""Below this sd of a paired difference (nats), and with five sizes, curvature would count as scatter in the
shared power law: the law with a floor becomes the default."""
LEAST_SIZES, LEAST_DECADES, LEAST_SIZES_DRIFT = 4, 1.0, 6
UNIT = "ratio of compute"


def _per_size(design: Design, noise: Noise) -> float:
    """Sd of one size's ln ratio."""
    return float(np.hypot(noise.sd / np.sqrt(design.seeds), noise.misfit) / noise.loss / noise.exponent)


def _ratio_error(design: Design, noise: Noise) -> Expected:
    return Expected(se=_per_size(design, noise) / np.sqrt(design.sizes), scale="log", unit=UNIT)


def _drift_error(design: Design, noise: Noise) -> Expected:
    # A slope over evenly spaced sizes: sum of squared distances (decades) is about J (range)^2 / 12.
    se = _per_size(design, noise) / np.sqrt(design.sizes / 12) / 1.5
    return Expected(se=se, unit="ln ratio per decade of compute")


def _scaling(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    compute: str,
    size: str | None,
    where: Mapping[str, Any] | None,
    least: int,
) -> tuple[PairedArms, np.ndarray, np.ndarray]:
    """The paired arms with ln C and mean loss, each (2, J), sizes in ascending compute."""
    columns_needed(evidence, evidence.trials, [compute], "trials")
    by = None if size is None else [size]
    c = pair_arms(evidence, arm, baseline, metric, by, where, extra=[compute], least=1)
    cost = np.array([[s[k].mean(compute) for k in c.keys] for s in (c.arm, c.baseline)])
    if not np.isfinite(cost).all() or (cost <= 0).any():
        raise evidence.refuse(f"{compute!r} is missing or not positive in some size", "name a column of FLOPs")
    order = np.argsort(cost[1])
    c.keys = [c.keys[i] for i in order]
    logs = np.log(cost[:, order])
    loss = np.array([[np.mean(c.common[k][i]) for k in c.keys] for i in (0, 1)])
    if (loss <= 0).any():
        raise evidence.refuse(f"{metric!r} is not positive everywhere", "a law of compute needs a positive loss")
    decades = (logs[1, -1] - logs[1, 0]) / np.log(10)
    if len(c.keys) < least or decades < LEAST_DECADES:
        raise evidence.refuse(
            f"{len(c.keys)} sizes over {decades:.2f} decades of compute"
            + (f" ({'; '.join(c.notes)})" if c.notes else ""),
            f"run at least {least} sizes over at least {LEAST_DECADES:g} decade",
        )
    return c, logs, loss


def _answer(form: str, logs: np.ndarray, loss: np.ndarray) -> Part | None:
    """A form's ln ratio with its jackknife error; None where some subset of the sizes has none."""
    value, se, df = law.jackknife(law.FORMS[form], logs, loss)
    if not (np.isfinite(value) and np.isfinite(se) and se > 0):
        return None
    return Part(value=float(value), se=float(se), df=df, label=form)


@estimator(Facts(df=by_size, error=_ratio_error, least_sizes=LEAST_SIZES, forms=tuple(law.FORMS)))
def compute_ratio(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str = "test_loss",
    compute: str = "flops",
    size: str | None = None,
    where: Mapping[str, Any] | None = None,
    form: Literal["auto", "shared_power_law", "shared_law_with_floor", "fit_free"] = "auto",
) -> Estimate:
    """Compute that arm needs over compute that baseline needs, at equal loss, on the measured sizes.

    ``form``: shared_power_law, shared_law_with_floor, fit_free, or auto: the power law (with a floor where the sd
    of a paired difference is below .005 nats and there are five sizes), and the wider of it and fit_free where the
    two differ by over a third of its half-width, since curvature biases a law in favour of the better arm. All
    three are in ``forms``, beside the ratio in seconds where the suite timed its arms.
    """
    c, logs, loss = _scaling(evidence, arm, baseline, metric, compute, size, where, LEAST_SIZES)
    pairs = [u - v for u, v in c.common.values() if len(u) == len(v) and len(u) > 1]
    sd = float(np.sqrt(np.mean([d.var(ddof=1) for d in pairs]))) if pairs else float("nan")
    quiet = sd < QUIET_SD and len(c.keys) >= 5
    default = form if form != "auto" else "shared_law_with_floor" if quiet else "shared_power_law"
    answers = {name: _answer(name, logs, loss) for name in law.FORMS}
    parts = {name: part for name, part in answers.items() if part is not None}
    if default not in parts:
        low, high = law.common_range(logs, loss)
        raise evidence.refuse(
            f"{default} has no answer: the losses of {arm!r} and {baseline!r} "
            + ("share no range" if low >= high else "do not fall with compute in every subset of the sizes"),
            "run sizes whose losses overlap and fall",
        )
    g = float(law.exponent(logs, loss))
    notes = [*c.notes, f"{default}; exponent of the arms' mean loss {g:.3f}"]
    judged = default
    if form == "auto" and (free := parts.get("fit_free")) is not None:
        chosen = parts[default]
        if law.apart(chosen.value, chosen.se, free.value, chosen.df):
            judged = max(default, "fit_free", key=lambda name: parts[name].se)
            notes.append(
                f"{default} and fit_free differ by {abs(chosen.value - free.value):.2g} in ln ratio, over a third "
                f"of the half-width: the wider, {judged}, is judged"
            )
    if len(parts) < len(law.FORMS):
        notes.append(f"no answer from: {', '.join(sorted(set(law.FORMS) - set(parts)))}")
    rows = [form_row(name, answers[name], "log", used=name == judged) for name in law.FORMS]
    seconds = seconds_of(evidence, c, arm, baseline, size)
    if seconds is not None:
        rows.append(form_row("wall_clock", _answer(default, np.log(seconds), loss), "log", used=False))
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
    return Estimate(
        parts=(parts[judged],),
        unit=UNIT,
        scale="log",
        num_sizes=len(c.keys),
        num_seeds=c.num_seeds,
        num_trials=c.num_trials,
        seed_sd=None if np.isnan(sd) else sd,
        estimators_agree=_agree(list(parts.values()), parts[judged]),
        table=table,
        forms=rows,
        notes=notes,
        identities=c.identities,
    )


def _agree(parts: list[Part], chosen: Part) -> bool:
    """Every form's point on the chosen one's side of 1, and inside its interval or containing its point."""

    def half(part: Part) -> float:
        ends = interval(part, "linear")
        return (ends[1] - ends[0]) / 2 if ends else 0.0

    return all(
        np.sign(p.value) == np.sign(chosen.value)
        or (abs(p.value) <= half(p) and abs(chosen.value) <= half(chosen))
        for p in parts
    ) and all(abs(p.value - chosen.value) <= max(half(p), half(chosen)) for p in parts)


@estimator(Facts(df=by_size, error=_drift_error, least_sizes=LEAST_SIZES_DRIFT))
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
    )

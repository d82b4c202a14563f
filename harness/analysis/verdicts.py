"""From an estimate and a region to p values, Holm, a verdict, and what the run could have seen.

One claim, one region: a half-line, a band (equivalence), or one of these for every part of the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, model_validator
from scipy import optimize, special, stats

from harness.analysis.estimate import Estimate, Part, Scale, shown
from harness.analysis.shares import binomial_tails

LEVEL = 0.05
POWER = 0.8
LEAST_DF_FOR_POWER = 4
"""Below it the sd is known so poorly (a factor of 6) that a detectable effect would mislead."""

Verdict = Literal[
    "reproduced",
    "contradicted",
    "unresolved",
    "holds_at_reduced_scale",
    "fails_at_reduced_scale",
    "exploratory",
]
Scope = Literal["published", "reduced", "identity"]
Resolution = Literal["holds", "fails", "unresolved"]


class Region(BaseModel):
    """Where the number lies if the claim is right: below, above, within, or all (of one of these)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    below: float | None = None
    above: float | None = None
    within: tuple[float, float] | None = None
    all: Region | None = None
    """Every part of the estimate must lie in this region."""

    @model_validator(mode="after")
    def _one(self) -> Region:
        given = [k for k in ("below", "above", "within", "all") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of below, above, within, all; got {', '.join(given) or 'none'}")
        if self.within and self.within[0] >= self.within[1]:
            raise ValueError(f"within: {list(self.within)} is empty: the first number must be the lower one")
        if self.all and self.all.all:
            raise ValueError("all: holds a half-line or a band, not another all")
        return self

    @property
    def simple(self) -> Region:
        """The region of one part."""
        return self.all or self

    def bounds(self, scale: Scale = "linear") -> tuple[float, float]:
        """(lower, upper) of one part's region on the estimate's scale."""
        r = self.simple
        low, high = r.within or (
            r.above if r.above is not None else -np.inf,
            r.below if r.below is not None else np.inf,
        )
        if scale == "logit":
            return float(special.logit(np.clip(low, 0, 1))), float(special.logit(np.clip(high, 0, 1)))
        if scale == "linear":
            return float(low), float(high)
        if (r.within is not None and low <= 0) or (r.above is not None and low <= 0) or high <= 0:
            raise ValueError(f"a ratio's region needs positive bounds, got {r.text()}")
        return (
            float(np.log(low)) if np.isfinite(low) else -np.inf,
            float(np.log(high)) if np.isfinite(high) else np.inf,
        )

    def text(self) -> str:
        """The region in words."""
        if self.all:
            return f"{self.all.text()} in every part"
        if self.within:
            return f"within {self.within[0]:g} to {self.within[1]:g}"
        return f"below {self.below:g}" if self.below is not None else f"above {self.above:g}"


def part_p(part: Part, low: float, high: float) -> tuple[float, float]:
    """(p against 'outside the region', p against 'inside') of one number, each one-sided t.

    Without sampling error: 0 and 1, or 1 and 0; bounds belong to the region. A share of runs: binomial, with
    bounds on the logit scale.
    """
    if part.count is not None:
        return _count_p(part.count, low, high)
    if part.se == 0:
        inside = low <= part.value <= high
        return (0.0, 1.0) if inside else (1.0, 0.0)
    if part.pairs is not None:
        above_low = sign_flip_p(np.asarray(part.pairs) - low) if np.isfinite(low) else 0.0
        below_high = sign_flip_p(high - np.asarray(part.pairs)) if np.isfinite(high) else 0.0
        fail_low = sign_flip_p(low - np.asarray(part.pairs)) if np.isfinite(low) else 1.0
        fail_high = sign_flip_p(np.asarray(part.pairs) - high) if np.isfinite(high) else 1.0
        return max(above_low, below_high), min(fail_low, fail_high)
    above_low = stats.t.sf((part.value - low) / part.se, part.df) if np.isfinite(low) else 0.0
    below_high = stats.t.cdf((part.value - high) / part.se, part.df) if np.isfinite(high) else 0.0
    hold = max(above_low, below_high)
    fail = min(1 - above_low if np.isfinite(low) else 1.0, 1 - below_high if np.isfinite(high) else 1.0)
    return float(hold), float(fail)


def _count_p(count: tuple[float, int], low: float, high: float) -> tuple[float, float]:
    above_low, below_low = binomial_tails(*count, shown(low, "logit"))
    above_high, below_high = binomial_tails(*count, shown(high, "logit"))
    hold = max(above_low if np.isfinite(low) else 0.0, below_high if np.isfinite(high) else 0.0)
    fail = min(below_low if np.isfinite(low) else 1.0, above_high if np.isfinite(high) else 1.0)
    return hold, fail


MOST_FLIPS = 20
"""Pairs up to which all sign patterns are enumerated."""


def sign_flip_p(differences: ArrayLike) -> float:
    """Exact one-sided p that the mean is above 0 under symmetry: the share of sign patterns at least as large."""
    d = np.asarray(differences, dtype=float)
    sums = np.zeros(1)
    for x in d:
        sums = np.concatenate([sums + x, sums - x])
    return float((sums >= d.sum() - 1e-12 * np.abs(d).sum()).mean())


def p_values(estimate: Estimate, region: Region) -> tuple[float, float]:
    """(p_hold, p_fail). For all parts: every part must hold; the worst part's p_fail counts the parts."""
    low, high = region.bounds(estimate.scale)
    pairs = [part_p(p, low, high) for p in estimate.parts]
    if region.all is None and len(pairs) > 1:
        raise ValueError(f"the estimate has {len(pairs)} parts; write expects: {{all: {{...}}}}")
    return max(h for h, _ in pairs), min(1.0, len(pairs) * min(f for _, f in pairs))


def two_sided(hold: float, fail: float) -> float:
    """p of a claim: twice the smaller of the two."""
    return min(1.0, 2 * min(hold, fail))


def holm(ps: ArrayLike) -> list[float]:
    """Holm-adjusted p values over one suite's confirmatory claims (statsmodels' takes 60 ms a call)."""
    p = np.asarray(ps, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    out = np.empty_like(p)
    out[order] = np.minimum(adjusted, 1.0)
    return [float(x) for x in out]


def resolve(p_adjusted: float, hold: float, fail: float, level: float = LEVEL) -> Resolution:
    """holds, fails or unresolved."""
    if p_adjusted > level:
        return "unresolved"
    return "holds" if hold < fail else "fails"


def side(estimate: Estimate, region: Region) -> bool:
    """Whether the point estimate lies in the region, in every part."""
    low, high = region.bounds(estimate.scale)
    return all(low <= p.value <= high for p in estimate.parts)


VERDICTS: dict[tuple[Scope, Resolution], Verdict] = {
    ("published", "holds"): "reproduced",
    ("published", "fails"): "contradicted",
    ("published", "unresolved"): "unresolved",
    ("identity", "holds"): "reproduced",
    ("identity", "fails"): "contradicted",
    ("identity", "unresolved"): "unresolved",
    ("reduced", "holds"): "holds_at_reduced_scale",
    ("reduced", "fails"): "fails_at_reduced_scale",
    ("reduced", "unresolved"): "unresolved",
}
"""What report.json calls it; its words are the report's."""


# --- what a run can see -----------------------------------------------------------------------------------------


def detectable_factor(df: float, level: float = LEVEL, power: float = POWER) -> float:
    """Effect over se that a two-sided t test at this level detects with this power (noncentral t)."""
    if df > 1e5:
        return float(stats.norm.ppf(1 - level / 2) + stats.norm.ppf(power))
    critical = stats.t.ppf(1 - level / 2, df)
    return float(optimize.brentq(lambda d: stats.nct.sf(critical, df, d) - power, 0.01, 60 + 10 * critical))


def equivalence_factor(df: float, level: float = LEVEL, power: float = POWER) -> float:
    """Smallest margin over se in which equivalence (each side at level / 2) would be shown with this power at 0."""
    return float(stats.t.ppf(1 - level / 2, df) + stats.t.ppf(1 - (1 - power) / 2, df))


def sd_range(df: float, level: float = LEVEL) -> tuple[float, float]:
    """Factors between which the true sd lies, given the measured one (chi-square)."""
    return (
        float(np.sqrt(df / stats.chi2.ppf(1 - level / 2, df))),
        float(np.sqrt(df / stats.chi2.ppf(level / 2, df))),
    )


@dataclass(frozen=True, kw_only=True)
class Detectable:
    """Minimum detectable effect on the estimate's scale, with the range that its sd allows."""

    effect: float
    low: float
    high: float
    margin: float
    """Smallest equivalence margin that this se could meet."""
    text: str

    def as_dict(self) -> dict[str, Any]:
        return {"effect": self.effect, "low": self.low, "high": self.high, "margin": self.margin, "text": self.text}


def detectable(se: float, df: float, region: Region, scale: Scale, unit: str, tests: int = 1) -> Detectable | None:
    """What an estimate with this se sees at 80 % power and Holm's first step over ``tests``; None under 4 df.

    None for shares too: what could be seen depends on where the share lies.
    """
    if df < LEAST_DF_FOR_POWER or not se > 0 or scale == "logit":
        return None
    log = scale == "log"
    level = LEVEL / max(tests, 1)
    effect, margin = detectable_factor(df, level) * se, equivalence_factor(df, level) * se
    low, high = sd_range(df)
    r = region.simple
    if r.within is not None:
        said = f"within {np.exp(margin):.2g}x" if log else f"a margin of {margin:.2g} {unit}".rstrip()
        span = (
            f"{np.exp(low * margin):.2g}-{np.exp(high * margin):.2g}x"
            if log
            else f"{low * margin:.2g}-{high * margin:.2g}"
        )
    else:
        down = r.below is not None
        bound = region.bounds(scale)[1 if down else 0]
        sign = -1 if down else 1
        if log:
            said = f"a {unit} {'below' if down else 'above'} {np.exp(bound + sign * effect):.2g}"
            ends = sorted(float(np.exp(bound + sign * f * effect)) for f in (low, high))
            span = f"{ends[0]:.2g}-{ends[1]:.2g}"
        else:
            said = f"{effect:.2g} {unit} {'below' if down else 'above'} {bound:g}".replace("  ", " ")
            span = f"{low * effect:.2g}-{high * effect:.2g}"
    return Detectable(effect=effect, low=low * effect, high=high * effect, margin=margin, text=f"{said} ({span})")

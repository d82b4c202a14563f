"""What an estimator returns: one or several numbers with their errors, and what they rest on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy import special, stats

from harness.analysis.shares import clopper_pearson

Scale = Literal["linear", "log", "logit"]
"""On which the error is symmetric: as shown, natural logarithms of ratios, logits of shares."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One estimated number on the scale on which its error is symmetric."""

    value: float
    se: float
    """Standard error; 0 with infinite df for a number without sampling error."""
    df: float
    pairs: tuple[float, ...] | None = None
    """Differences for an exact sign-flip test, which then gives the p values in place of t."""
    count: tuple[float, int] | None = None
    """(sum of the runs' shares, runs): then p values and interval are binomial over runs, not t."""
    label: str = ""
    """Which part, where there are several: a checkpoint, a pair of widths, a layer."""


def shown(value: float, scale: Scale) -> float:
    """A number of this scale as readers see it."""
    if scale == "log":
        return float(np.exp(value))
    return float(special.expit(value)) if scale == "logit" else float(value)


def interval(part: Part, scale: Scale, alpha: float = 0.05) -> tuple[float, float] | None:
    """Two-sided interval of a part as readers see it; None without sampling error or without df."""
    if part.count is not None:
        return clopper_pearson(*part.count, alpha)
    if not part.se > 0:
        return None
    half = float(stats.t.ppf(1 - alpha / 2, part.df)) * part.se
    return (shown(part.value - half, scale), shown(part.value + half, scale)) if np.isfinite(half) else None


def form_row(name: str, part: Part | None, scale: Scale, *, used: bool, of: str = "") -> dict[str, Any]:
    """One answer among several to the same question: form, part, estimate, low, high, df, used."""
    ends = None if part is None else interval(part, scale)
    return {
        "form": name,
        "part": of,
        "estimate": None if part is None else shown(part.value, scale),
        "low": ends[0] if ends else None,
        "high": ends[1] if ends else None,
        "df": None if part is None else part.df,
        "used": used,
    }


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One or several numbers with their errors, and what they rest on."""

    parts: tuple[Part, ...]
    """Several only where the claim is about all of them."""
    unit: str
    """Unit of the displayed numbers, e.g. ``nats per byte`` or ``ratio of compute``."""
    scale: Scale = "linear"
    """Of the parts; regions and displays are as shown."""
    exact: bool = False
    """No sampling error: an identity."""
    num_sizes: int = 1
    num_seeds: int = 1
    """Fewest fresh seeds in a cell."""
    num_trials: int = 0
    seed_sd: float | None = None
    """Sd over seeds of what is averaged (paired differences where paired), root mean square over cells."""
    validation_error: float | None = None
    """What the finite held-out sample adds to the error of every seed alike; contained in the parts' se."""
    estimators_agree: bool | None = None
    """Where several estimators answer: all on one side, none resolving the other way."""
    table: list[dict[str, Any]] = field(default_factory=list)
    """A few rows a reader wants to see."""
    forms: list[dict[str, Any]] = field(default_factory=list)
    """The same question answered by each form of the estimator, where it has several (see form_row)."""
    notes: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    """Records used."""

    def shown(self, value: float) -> float:
        """A number on the displayed scale."""
        return shown(value, self.scale)

    def interval(self, index: int = 0, alpha: float = 0.05) -> tuple[float, float] | None:
        """The interval of a part on the displayed scale."""
        return interval(self.parts[index], self.scale, alpha)

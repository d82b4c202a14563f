"""Shares of runs: exact binomial intervals and p values, and the interval of a mean share on the logit scale.

A share is judged on runs, since the matrices or tokens of one run are one draw. Intervals never leave [0, 1].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats


def clopper_pearson(count: float, total: int, alpha: float = 0.05) -> tuple[float, float]:
    """Exact interval of a share. ``count`` may be a sum of shares: a run's share varies less than a coin."""
    low = stats.beta.ppf(alpha / 2, count, total - count + 1) if count > 0 else 0.0
    high = stats.beta.ppf(1 - alpha / 2, count + 1, total - count) if count < total else 1.0
    return float(low), float(high)


def binomial_tails(count: float, total: int, share: float) -> tuple[float, float]:
    """(P of at least this count, P of at most this count) where the true share is ``share``."""
    upper = 1.0 if count <= 0 else float(stats.beta.cdf(share, count, total - count + 1))
    lower = 1.0 if count >= total else float(stats.beta.sf(share, count + 1, total - count))
    return upper, lower


def on_logits(mean: ArrayLike, se: ArrayLike, units: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(logit of a mean share, its se) by the delta method, half a unit added on either side.

    ``units``: matrices (tokens, ...) behind the mean, over all runs. The mean share keeps its meaning, where the
    mean of the runs' own logits is another quantity: at a share of .98 over 18 matrices it covers 11-53 %.
    """
    n = np.asarray(units, dtype=float)
    inside = (np.asarray(mean, dtype=float) * n + 0.5) / (n + 1)
    return special.logit(inside), np.asarray(se, dtype=float) / (inside * (1 - inside))

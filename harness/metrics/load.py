"""How evenly experts are loaded, and by chance alone. Numpy; no torch.

Shapes: leading axes are the caller's (steps, layers), E experts.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def shares(counts: ArrayLike) -> Array:
    """Each expert's share of all pairs, (..., E); NaN where there are none."""
    number = np.asarray(counts, dtype=np.float64)
    total = number.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, number / total, np.nan)


def max_violation(counts: ArrayLike) -> Array:
    """Largest load over the mean load, less one: 0 is balanced, E - 1 one expert for all (2408.15664, MaxVio)."""
    share = shares(counts)
    return share.max(-1) * share.shape[-1] - 1.0


def load_cv(counts: ArrayLike) -> Array:
    """Standard deviation of the load over its mean."""
    share = shares(counts)
    return share.std(-1) * share.shape[-1]


def load_entropy(counts: ArrayLike) -> Array:
    """Entropy of the shares over ln E: 1 is balanced."""
    share = shares(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(share > 0, share * np.log(np.where(share > 0, share, 1.0)), 0.0)
    return np.where(np.isnan(share).any(-1), np.nan, -logs.sum(-1) / math.log(share.shape[-1]))


def starved_share(counts: ArrayLike, below: float = 0.1) -> Array:
    """Share of the experts whose load is under this part of the mean load."""
    share = shares(counts)
    starved = (share < below / share.shape[-1]).mean(-1)
    return np.where(np.isnan(share).any(-1), np.nan, starved)


@cache
def expected_largest_normal(count: int) -> float:
    """Expected maximum of this many independent unit normals: 1.4236 of 8, 1.7660 of 16, 2.3437 of 64."""
    x = np.linspace(-12.0, 12.0, 48_001)
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(x))])
    return float(np.trapezoid(x * count * density * below ** (count - 1), x))


def sampling_floor(num_experts: int, active: float, num_tokens: float) -> float:
    """max_violation that a perfectly balanced router shows on this many independent tokens, by normal counts.

    Text is clustered, so real floors lie higher.
    """
    E, k = num_experts, active
    if k >= E:
        return 0.0
    spread = math.sqrt((E - k) / (k * num_tokens)) * math.sqrt(E / (E - 1))
    return expected_largest_normal(E) * spread


def first_step_below(values: ArrayLike, limit: float, window: int = 1) -> int | None:
    """First index from which the mean of ``window`` values is at most the limit; None: never."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) < window:
        return None
    means = np.convolve(x, np.full(window, 1 / window), "valid")
    found = np.flatnonzero(means <= limit)
    return int(found[0]) if len(found) else None

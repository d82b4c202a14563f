"""Means and differences over cells: Welch-Satterthwaite, and the noise that they rest on.

Batched over leading axes; per-cell arrays end in the axis of cells. Percentile intervals of three seeds are
[min, max], that is 75 %: none are offered here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell's comparison of two arms, or one arm's values."""

    name: str
    """The cell in words, e.g. ``d24``."""
    mean: float
    """Mean of the differences (or values)."""
    variance: float
    """Variance of that mean."""
    df: float
    """Degrees of freedom of the variance."""
    n: int
    """Pairs, or the smaller number of seeds where unpaired."""
    sd: float
    """Sd of one difference (or value)."""


def paired(name: str, difference: ArrayLike) -> Cell:
    """A cell of paired differences, or of one arm's values: (n,), n >= 2."""
    d = np.asarray(difference, dtype=float)
    sd = float(np.std(d, ddof=1))
    return Cell(name=name, mean=float(d.mean()), variance=sd**2 / len(d), df=len(d) - 1.0, n=len(d), sd=sd)


def unpaired(name: str, arm: ArrayLike, baseline: ArrayLike) -> Cell:
    """A cell whose arms share no seeds: Welch. Both (n,), n >= 2."""
    a, b = np.asarray(arm, dtype=float), np.asarray(baseline, dtype=float)
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    total = va + vb
    df = total**2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)) if total > 0 else min(len(a), len(b)) - 1.0
    return Cell(
        name=name,
        mean=float(a.mean() - b.mean()),
        variance=float(total),
        df=float(df),
        n=min(len(a), len(b)),
        sd=float(np.sqrt(a.var(ddof=1) + b.var(ddof=1))),
    )


def combine(
    means: ArrayLike,
    variances: ArrayLike,
    dfs: ArrayLike,
    weights: ArrayLike | None = None,
    validation_error: ArrayLike = 0.0,
) -> tuple[Any, Any, Any]:
    """Weighted mean over cells with its standard error and Welch-Satterthwaite degrees of freedom.

    ``means``, ``variances`` (of the means) and ``dfs``: (..., J). ``weights``: (J,), default 1 / J.
    ``validation_error``: sd that all seeds share through the finite held-out sample, added in quadrature;
    it leaves df alone, as it is known from many blocks of documents.
    Returns estimate, se, df, each (...).
    """
    m, v, d = (np.asarray(x, dtype=float) for x in (means, variances, dfs))
    w = np.full(m.shape[-1], 1 / m.shape[-1]) if weights is None else np.asarray(weights, dtype=float)
    parts = w**2 * v
    total = parts.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = total**2 / (parts**2 / d).sum(-1)
    return (w * m).sum(-1), np.sqrt(total + np.asarray(validation_error, dtype=float) ** 2), df


def mean_of_cells(differences: ArrayLike, weights: ArrayLike | None = None) -> tuple[Any, Any, Any]:
    """:func:`combine` over a rectangular array of paired differences (..., J, n)."""
    d = np.asarray(differences, dtype=float)
    n = d.shape[-1]
    return combine(d.mean(-1), d.var(-1, ddof=1) / n, np.full(d.shape[:-1], n - 1.0), weights)


def mean_of_sizes(cell_means: ArrayLike) -> tuple[Any, Any, Any]:
    """t over cell means (..., J): what a statement across sizes may rest on; df J - 1."""
    m = np.asarray(cell_means, dtype=float)
    j = m.shape[-1]
    return m.mean(-1), m.std(-1, ddof=1) / np.sqrt(j), np.full(m.shape[:-1], j - 1.0)


def interval(estimate: ArrayLike, se: ArrayLike, df: ArrayLike, alpha: float = 0.05) -> tuple[Any, Any]:
    """Two-sided t interval."""
    half = stats.t.ppf(1 - alpha / 2, df) * np.asarray(se)
    return np.asarray(estimate) - half, np.asarray(estimate) + half


def validation_error(block_differences: ArrayLike) -> float:
    """Error of a difference of arms due to the finite held-out sample.

    ``block_differences``: (blocks,) mean over seeds of arm minus baseline in each block of documents. Equal
    blocks; the mean over blocks is the difference itself.
    """
    b = np.asarray(block_differences, dtype=float)
    return float(b.std(ddof=1) / np.sqrt(len(b)))


def pooled_sd(cells: Sequence[Cell]) -> float:
    """Root mean square of the cells' sds: a description of the noise, never used in an interval."""
    return float(np.sqrt(np.mean([c.sd**2 for c in cells]))) if cells else float("nan")

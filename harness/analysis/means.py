"""Means and differences over cells: Welch-Satterthwaite, t over cell means, and the noise that they rest on.

Batched over leading axes; per-cell arrays end in the axis of cells. Percentile intervals of three seeds are
[min, max], that is 75 %: none are offered here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LEAST_GENERAL = 4
"""Cells from which on a mean over sizes is judged by its scatter over sizes: Welch over seeds speaks of these
sizes alone, and covers 70 % as a statement about sizes like them (arm-by-size sd .02, seed sd .03)."""
THESE, LIKE_THESE = "these sizes", "sizes like these"
"""What the two intervals of a mean over sizes speak of."""


@dataclass(frozen=True, kw_only=True)
class CellMean:
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


def paired(name: str, difference: ArrayLike) -> CellMean:
    """A cell of paired differences, or of one arm's values: (n,), n >= 2."""
    d = np.asarray(difference, dtype=float)
    sd = float(np.std(d, ddof=1))
    return CellMean(name=name, mean=float(d.mean()), variance=sd**2 / len(d), df=len(d) - 1.0, n=len(d), sd=sd)


def unpaired(name: str, arm: ArrayLike, baseline: ArrayLike) -> CellMean:
    """A cell whose arms share no seeds: Welch. Both (n,), n >= 2."""
    a, b = np.asarray(arm, dtype=float), np.asarray(baseline, dtype=float)
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    total = va + vb
    df = total**2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)) if total > 0 else min(len(a), len(b)) - 1.0
    return CellMean(
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


def mean_of_sizes(cell_means: ArrayLike, validation_error: ArrayLike = 0.0) -> tuple[Any, Any, Any]:
    """t over cell means (..., J): what a statement across sizes may rest on; df J - 1."""
    m = np.asarray(cell_means, dtype=float)
    j = m.shape[-1]
    se = np.sqrt(m.var(-1, ddof=1) / j + np.asarray(validation_error, dtype=float) ** 2)
    return m.mean(-1), se, np.full(m.shape[:-1], j - 1.0)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over cells, with the interval that is judged and the one that stands beside it."""

    value: float
    se: float
    df: float
    general: bool
    """Whether the judged interval speaks of sizes like these, rather than of these sizes."""
    answers: dict[str, tuple[float, float, float]]
    """What it speaks of -> (value, se, df), as far as the cells tell."""


def over_cells(
    cells: Sequence[CellMean],
    weights: ArrayLike | None = None,
    validation_error: float = 0.0,
    across_sizes: bool | None = None,
) -> Mean:
    """The mean over cells; by its scatter over sizes from four cells on, unless ``across_sizes`` or weights say.

    Weights name these sizes: they have no interval for others.
    """
    value, se, df = combine(
        [c.mean for c in cells], [c.variance for c in cells], [c.df for c in cells], weights, validation_error
    )
    answers = {THESE: (float(value), float(se), float(df))}
    if len(cells) > 1 and weights is None:
        value, se, df = mean_of_sizes([c.mean for c in cells], validation_error)
        answers[LIKE_THESE] = (float(value), float(se), float(df))
    general = LIKE_THESE in answers and (
        across_sizes if across_sizes is not None else len(cells) >= LEAST_GENERAL and answers[LIKE_THESE][1] > 0
    )
    value, se, df = answers[LIKE_THESE if general else THESE]
    return Mean(value=value, se=se, df=df, general=general, answers=answers)


def judged_df(sizes: int, seeds: int, across_sizes: bool | None = None, weighted: bool = False) -> float:
    """Degrees of freedom that :func:`over_cells` would have under a plan; a cell needs two seeds either way."""
    if seeds < 2:
        return 0.0
    general = sizes >= LEAST_GENERAL if across_sizes is None else across_sizes
    return sizes - 1.0 if general and not weighted else sizes * (seeds - 1.0)


def validation_error(block_differences: ArrayLike, tokens: ArrayLike | None = None) -> float:
    """Error of a difference of arms due to the finite held-out sample.

    ``block_differences``: (blocks,) mean over seeds of arm minus baseline in each block of documents; ``tokens``:
    (blocks,) what each weighs, default alike. The weighted mean over blocks is the difference itself.
    """
    b = np.asarray(block_differences, dtype=float)
    w = np.ones(len(b)) if tokens is None else np.asarray(tokens, dtype=float)
    w = w / w.sum()
    centred = b - (w * b).sum()
    return float(np.sqrt(len(b) / (len(b) - 1) * (w**2 * centred**2).sum()))


def pooled_sd(cells: Sequence[CellMean]) -> float:
    """Root mean square of the cells' sds: a description of the noise, never used in an interval."""
    return float(np.sqrt(np.mean([c.sd**2 for c in cells]))) if cells else float("nan")

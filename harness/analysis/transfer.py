"""Transfer of the optimal learning rate across widths: optima, their slope, and the loss that a transfer costs.

Pure functions on arrays. log2 throughout: slopes are octaves of learning rate per octave of width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

HALF_OCTAVE = 0.6
"""A grid with a smaller step gets the five-point parabola; on octaves five points are biased by asymmetry."""
OUTLYING_SCATTER = 3.0
"""An arm whose own scatter is over this multiple of the others' pooled one leaves the pool, ..."""
OUTLYING_LEVEL = 0.01
"""... unless chance does as much at this level over the arms: with three widths an arm has one degree of
freedom, and a bare factor 3 threw out so many that the slope's interval covered 92 %."""


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The minimum of one width's tuning curve."""

    log2_lr: float | None
    """None where the curve has no interior minimum; ``reason`` says why."""
    loss: float | None
    """Fitted loss there."""
    argmin: float
    """log2 LR of the best grid point: drawn, never judged (its sd is .11-.25 octave)."""
    reason: str = ""


def optimum(log2_lr: ArrayLike, loss: ArrayLike) -> Optimum:
    """Optimum of a seed-mean curve: (points,), nan or inf where any seed diverged.

    A parabola through three points on an octave grid, fitted to five on half octaves. No optimum where the
    best point is on the edge, a neighbour is not finite, or the parabola is not convex.
    """
    x, y = np.asarray(log2_lr, dtype=float), np.asarray(loss, dtype=float)
    order = np.argsort(x)
    x, y = x[order], y[order]
    finite = np.isfinite(y)
    if not finite.any():
        return Optimum(log2_lr=None, loss=None, argmin=float("nan"), reason="diverged everywhere")
    best = int(np.argmin(np.where(finite, y, np.inf)))
    argmin = float(x[best])
    reach = 2 if len(x) > 4 and np.median(np.diff(x)) <= HALF_OCTAVE else 1
    low, high = best - reach, best + reach
    if low < 0 or high >= len(x):
        reach, low, high = 1, best - 1, best + 1
    if low < 0 or high >= len(x):
        side = "low" if low < 0 else "high"
        return Optimum(log2_lr=None, loss=None, argmin=argmin, reason=f"best point on the {side} edge of the grid")
    if not finite[low : high + 1].all():
        return Optimum(log2_lr=None, loss=None, argmin=argmin, reason="a neighbour of the best point diverged")
    c, b, a = np.polynomial.polynomial.polyfit(x[low : high + 1] - argmin, y[low : high + 1], 2)
    vertex = -b / (2 * a) if a > 0 else np.inf
    if not x[low] - argmin <= vertex <= x[high] - argmin:
        return Optimum(log2_lr=None, loss=None, argmin=argmin, reason="no minimum in the fitted parabola")
    return Optimum(log2_lr=argmin + float(vertex), loss=float(c - b**2 / (4 * a)), argmin=argmin)


@dataclass(frozen=True, kw_only=True)
class Line:
    """Least-squares line of optima on log2 width, with the scatter that its interval rests on."""

    slope: float
    se: float
    df: float
    """Of the pooled scatter, less what the arms' correlation takes."""
    pooled_scatter: float
    """Pooled sd of optima about their arms' lines, octaves."""
    own_scatter: float
    """The same of this arm alone; the interval rests on the wider of the two."""
    correlation: float
    """Of two arms' residuals at one width, root mean square; what the data do not tell is taken as measured."""
    pooled_arms: tuple[str, ...]
    """Arms in the pool."""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """One arm's line."""

    slope: float
    sxx: float
    residual: Mapping[float, float]
    """log2 width -> octaves off the line."""

    @property
    def df(self) -> int:
        return len(self.residual) - 2

    @property
    def rss(self) -> float:
        return sum(r**2 for r in self.residual.values())


def _residuals(x: Array, y: Array) -> tuple[float, float, Array]:
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    return slope, float((centred**2).sum()), y - y.mean() - slope * centred


MEASURED_CORRELATION = 0.8
"""Between arms' residuals in mup_transfer, whose arms share seeds and, at the base width, whole curves. Taken where
no two arms have four widths in common: with three, residuals of two lines always correlate fully."""


def _squared_correlation(fits: Sequence[_Fit]) -> float:
    """Of two arms' residuals, averaged over pairs of arms; what chance gives unrelated lines is taken off."""
    found, weights = [], []
    for one, other in combinations(fits, 2):
        common = [w for w in one.residual if w in other.residual]
        df = len(common) - 2
        u, v = (np.array([f.residual[w] for w in common]) for f in (one, other))
        if df < 2 or not (u**2).sum() * (v**2).sum() > 0:
            continue
        squared = float((u * v).sum() ** 2 / ((u**2).sum() * (v**2).sum()))
        found.append((df * squared - 1) / (df - 1))
        weights.append(df)
    return float(np.clip(np.average(found, weights=weights), 0, 1)) if found else MEASURED_CORRELATION**2


def _pool(fits: Sequence[_Fit]) -> tuple[float, float]:
    """(scatter, nominal df) of arms' optima about their own lines."""
    df = sum(f.df for f in fits)
    return (float(np.sqrt(sum(f.rss for f in fits) / df)) if df else float("nan")), float(df)


def _effective_df(fits: Sequence[_Fit], squared: float) -> float:
    """df of the pooled scatter: sums of squares of arms that correlate at r have covariance r^2 times their df."""
    total = sum(f.df for f in fits)
    shared = sum(min(a.df, b.df) for a, b in combinations(fits, 2))
    return total**2 / (total + 2 * squared * shared) if total else 0.0


def planned_df(widths: int, arms: int) -> float:
    """df of a slope's interval under a plan, at the correlation that was measured between arms."""
    fits = [_Fit(slope=0.0, sxx=1.0, residual=dict.fromkeys(range(widths), 0.0))] * arms
    return _effective_df(fits, MEASURED_CORRELATION**2) if widths > 2 else 0.0


def slopes(optima: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> dict[str, Line]:
    """Slope per arm from (log2 width, log2 LR of the optimum), scatter pooled over arms.

    s^2 = sum of squared residuals over sum (W_a - 2), or the arm's own where that is wider; se = s / sqrt(Sxx).
    Arms share seeds, so that residuals of arms at one width are alike, and the pool's df shrinks by that (measured
    r .8: 87-93 % of nominal 95 with the plain df). Arms with fewer than three optima get no line. An arm that
    scatters far more than the others is judged by its own.
    """
    fits = {}
    for arm, (x, y) in optima.items():
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        if len(np.unique(x)) >= 3:
            slope, sxx, residual = _residuals(x, y)
            fits[arm] = _Fit(slope=slope, sxx=sxx, residual=dict(zip(x.tolist(), residual.tolist(), strict=True)))
    members = list(fits)
    while len(members) > 1:
        own = {a: _pool([fits[a]])[0] for a in members}
        worst = max(own, key=lambda a: own[a])
        # Against the pool of the others: within its own pool an arm can hardly stand out.
        others, df = _pool([fits[a] for a in members if a != worst])
        chance = stats.f.ppf(1 - OUTLYING_LEVEL / len(members), fits[worst].df, df)
        if own[worst] <= others * max(OUTLYING_SCATTER, float(np.sqrt(chance))):
            break
        members.remove(worst)
    out = {}
    for arm, fit in fits.items():
        group = tuple(members) if arm in members else (arm,)
        pool = [fits[a] for a in group]
        squared = _squared_correlation(pool) if len(pool) > 1 else 0.0
        scatter, own_scatter = _pool(pool)[0], _pool([fit])[0]
        out[arm] = Line(
            slope=fit.slope,
            se=max(scatter, own_scatter) / np.sqrt(fit.sxx),
            df=_effective_df(pool, squared),
            pooled_scatter=scatter,
            own_scatter=own_scatter,
            correlation=float(np.sqrt(squared)),
            pooled_arms=group,
        )
    return out


def log_slope(log2_x: ArrayLike, log2_y: ArrayLike) -> tuple[float, float, float]:
    """(slope, se, df = W - 2) of a line through (W,) points; its scatter contains misfit."""
    x, y = np.asarray(log2_x, dtype=float), np.asarray(log2_y, dtype=float)
    slope, sxx, residual = _residuals(x, y)
    df = len(x) - 2.0
    return slope, float(np.sqrt((residual**2).sum() / df / sxx)), df


def at_learning_rate(log2_lr: ArrayLike, losses: ArrayLike, wanted: float) -> Array | None:
    """Each seed's loss at ``wanted`` by the parabola through the three nearest points; None outside the grid.

    ``losses``: (seeds, points), divergence already capped. Linear in the losses, so noise between seeds
    carries through. On a grid point (within 1e-6) its own values.
    """
    x, y = np.asarray(log2_lr, dtype=float), np.asarray(losses, dtype=float)
    order = np.argsort(x)
    x, y = x[order], y[..., order]
    if len(x) < 3 or wanted < x[0] - 1e-6 or wanted > x[-1] + 1e-6:
        return None
    near = np.sort(np.argsort(np.abs(x - wanted), kind="stable")[:3])
    a, b, c = x[near]
    w = np.array(
        [
            (wanted - b) * (wanted - c) / ((a - b) * (a - c)),
            (wanted - a) * (wanted - c) / ((b - a) * (b - c)),
            (wanted - a) * (wanted - b) / ((c - a) * (c - b)),
        ]
    )
    return np.asarray(y[..., near] @ w)

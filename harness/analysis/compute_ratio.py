"""Compute ratio of two arms at equal loss, by three estimators, with a delete-one-size jackknife.

All functions are batched: ``log_compute`` and ``loss`` have shape (..., 2, J), arm first, baseline second, J
sizes in ascending compute. They return ln(C_arm / C_baseline) at equal loss, nan where the data have no answer
(loss that does not fall with compute, no common range). Bootstraps over four sizes or three seeds cover
60-85 %; the jackknife t over sizes held 93-98 % in simulation, misfit included, since misfit of a size is
scatter between its leave-one-out values.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]
Form = Callable[[Array, Array], Array]

EXPONENTS = np.geomspace(0.01, 2.0, 25)
"""Grid of exponents for variable projection; refined round its best point."""
ZOOMS = 4
"""Refinements of the grid; each narrows it fivefold."""


def shared_power_law(log_compute: ArrayLike, loss: ArrayLike) -> Array:
    """ln L = a_size + b [arm]; ln ratio = b / g, g minus the slope of the arms' mean ln L on mean ln C.

    Where the arms' compute at one size differs (optimizer overhead), its mean log ratio is added.
    """
    x, y = np.asarray(log_compute, dtype=float), np.log(np.asarray(loss, dtype=float))
    advantage = (y[..., 0, :] - y[..., 1, :]).mean(-1)
    overhead = (x[..., 0, :] - x[..., 1, :]).mean(-1)
    g = exponent(x, np.asarray(loss, dtype=float))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(g > 0, advantage / g + overhead, np.nan)


def exponent(log_compute: ArrayLike, loss: ArrayLike) -> Array:
    """Minus the slope of the arms' mean ln L on their mean ln C."""
    x = np.asarray(log_compute, dtype=float).mean(-2)
    y = np.log(np.asarray(loss, dtype=float)).mean(-2)
    centred = x - x.mean(-1, keepdims=True)
    return -(centred * y).sum(-1) / (centred**2).sum(-1)


def _project(x: Array, y: Array, w: Array) -> tuple[Array, Array, Array]:
    """Best E >= 0 and one amplitude per arm for y = E + A_arm x; (E, A (..., 2), weighted squares).

    x, y, w: (..., 2, J), already scaled so that x is near one.
    """
    xx = (w * x * x).sum(-1, keepdims=True)
    # What is left of a constant and of the losses once each arm's power law is taken out.
    one = 1 - x * (w * x).sum(-1, keepdims=True) / xx
    rest = y - x * (w * x * y).sum(-1, keepdims=True) / xx
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = (w * one * rest).sum((-1, -2)) / (w * one * one).sum((-1, -2))
    floor = np.clip(np.nan_to_num(floor), 0, None)
    amplitude = (w * x * (y - floor[..., None, None])).sum(-1) / xx[..., 0]
    residual = y - floor[..., None, None] - amplitude[..., None] * x
    squares = (w * residual**2).sum((-1, -2))
    return floor, amplitude, np.where((amplitude > 0).all(-1), squares, np.inf)


def fit_floor(log_compute: ArrayLike, loss: ArrayLike) -> tuple[Array, Array, Array]:
    """Variable projection over g for L = E + A_arm C^-g; returns (E, ln A (..., 2), g), squares of relative error.

    Amplitudes are for C in units of the mean compute (geometric, over arms and sizes).
    """
    x, y = np.asarray(log_compute, dtype=float), np.asarray(loss, dtype=float)
    centred = x - x.mean((-1, -2), keepdims=True)
    w = y**-2
    grid = np.broadcast_to(EXPONENTS, (*y.shape[:-2], len(EXPONENTS)))
    for zoom in range(ZOOMS + 1):
        powers = np.exp(-grid[..., None, None] * centred[..., None, :, :])
        floor, amplitude, squares = _project(
            powers, y[..., None, :, :], np.broadcast_to(w[..., None, :, :], powers.shape)
        )
        best = squares.argmin(-1)[..., None]
        if zoom < ZOOMS:
            low = np.take_along_axis(grid, np.maximum(best - 1, 0), -1)
            high = np.take_along_axis(grid, np.minimum(best + 1, grid.shape[-1] - 1), -1)
            grid = low + (high - low) * np.linspace(0, 1, 11)
    pick = lambda values: np.take_along_axis(values, best, -1)[..., 0]  # noqa: E731
    valid = np.isfinite(pick(squares))
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.stack([np.log(pick(amplitude[..., a])) for a in (0, 1)], -1)
    return pick(floor), np.where(valid[..., None], logs, np.nan), np.where(valid, pick(grid), np.nan)


def shared_law_with_floor(log_compute: ArrayLike, loss: ArrayLike) -> Array:
    """L = E + A (C / C_arm)^-g with E >= 0; ln ratio = ln(C_arm / C_baseline), below 0 where arm is better."""
    _, log_amplitude, g = fit_floor(log_compute, loss)
    return (log_amplitude[..., 0] - log_amplitude[..., 1]) / g


def monotone(values: ArrayLike) -> Array:
    """Least-squares nonincreasing fit along the last axis (isotonic regression, by its min-max formula)."""
    y = np.asarray(values, dtype=float)
    size = y.shape[-1]
    total = np.concatenate([np.zeros((*y.shape[:-1], 1)), y.cumsum(-1)], -1)
    start, end = np.arange(size)[:, None], np.arange(size)[None, :]
    length = np.where(end >= start, end - start + 1, 1)
    block = (total[..., None, 1:] - total[..., :-1, None]) / length
    # fit[i] = min over start <= i of max over end >= i of the block's mean
    block = np.where(end >= start, block, -np.inf)
    tail = np.flip(np.maximum.accumulate(np.flip(block, -1), -1), -1)
    tail = np.where(end >= start, tail, np.inf)
    return np.minimum.accumulate(tail, -2)[..., np.arange(size), np.arange(size)]


def _invert(x: Array, y: Array, level: Array) -> Array:
    """ln C at which the piecewise linear, nonincreasing curve (x, y) (..., J) reaches level (..., K)."""
    upper, lower = y[..., :-1, None], y[..., 1:, None]
    inside = (level[..., None, :] <= upper) & (level[..., None, :] >= lower) & (upper > lower)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (upper - level[..., None, :]) / (upper - lower)
    at = x[..., :-1, None] + share * (x[..., 1:, None] - x[..., :-1, None])
    first = inside.argmax(-2)[..., None, :]
    found = np.take_along_axis(np.where(inside, at, np.nan), first, -2)[..., 0, :]
    return found


def common_range(log_compute: ArrayLike, loss: ArrayLike) -> tuple[Array, Array]:
    """(lowest, highest) ln L that both monotone frontiers reach; empty where lowest >= highest."""
    frontier = monotone(np.log(np.asarray(loss, dtype=float)))
    return frontier[..., -1].max(-1), frontier[..., 0].min(-1)


def fit_free(log_compute: ArrayLike, loss: ArrayLike, points: int = 64) -> Array:
    """Mean horizontal gap of the arms' piecewise log-log frontiers, made monotone, over their common loss range."""
    x = np.asarray(log_compute, dtype=float)
    frontier = monotone(np.log(np.asarray(loss, dtype=float)))
    low, high = frontier[..., -1].max(-1), frontier[..., 0].min(-1)
    share = (np.arange(points) + 0.5) / points
    level = low[..., None] + (high - low)[..., None] * share
    gap = _invert(x[..., 0, :], frontier[..., 0, :], level) - _invert(x[..., 1, :], frontier[..., 1, :], level)
    return np.where(high > low, gap.mean(-1), np.nan)


FORMS: dict[str, Form] = {
    "shared_power_law": shared_power_law,
    "shared_law_with_floor": shared_law_with_floor,
    "fit_free": fit_free,
}


def jackknife(form: Form, log_compute: ArrayLike, loss: ArrayLike) -> tuple[Array, Array, float]:
    """(estimate, se, df) with each size left out of both arms in turn; df = J - 1.

    se^2 = (J - 1) / J sum (theta_(-s) - mean)^2: seed noise, grid error and arm-by-size misfit together.
    """
    x, y = np.asarray(log_compute, dtype=float), np.asarray(loss, dtype=float)
    size = y.shape[-1]
    keep = np.array([[i for i in range(size) if i != s] for s in range(size)])
    # (..., 2, J, J-1) -> (..., J, 2, J-1): the left-out sizes join the batch.
    left = form(np.moveaxis(x[..., keep], -2, -3), np.moveaxis(y[..., keep], -2, -3))
    se = np.sqrt((size - 1) / size * ((left - left.mean(-1, keepdims=True)) ** 2).sum(-1))
    return form(x, y), se, size - 1.0


THIRD = 1 / 3
"""Share of the half-width by which a law and the fit-free gap may differ before the law alone is not believed."""


def apart(value: ArrayLike, se: ArrayLike, other: ArrayLike, df: ArrayLike) -> Array:
    """Whether another form's answer differs by over a third of this form's half-width."""
    half = stats.t.ppf(0.975, df) * np.asarray(se, dtype=float)
    return np.asarray(np.abs(np.asarray(value, dtype=float) - np.asarray(other, dtype=float)) > THIRD * half)


def drift_per_decade(log_compute: ArrayLike, loss: ArrayLike, grid: int = 31) -> Array:
    """Change of the ln ratio per decade of compute: ln 10 (g_baseline / g_arm - 1), floor shared, exponents free.

    The floor is profiled over [0, lowest loss); for each, ln(L - E) is regressed on ln C with weights
    ((L - E) / L)^2, which makes the squares those of relative error in L to first order. Separate power laws
    would invent a drift where the losses have a floor.
    """
    x, y = np.asarray(log_compute, dtype=float), np.asarray(loss, dtype=float)
    centred = x - x.mean((-1, -2), keepdims=True)
    lowest = y.min((-1, -2))
    # Dense towards the lowest loss, where the fit changes fastest.
    share = np.broadcast_to(1 - np.geomspace(1.0, 0.01, grid), (*lowest.shape, grid))
    for zoom in range(ZOOMS):
        floor = (share * lowest[..., None])[..., None, None]
        above = y[..., None, :, :] - floor
        w = (above / y[..., None, :, :]) ** 2
        z, t = np.log(above), np.broadcast_to(centred[..., None, :, :], above.shape)
        total = w.sum(-1, keepdims=True)
        dz, dt = z - (w * z).sum(-1, keepdims=True) / total, t - (w * t).sum(-1, keepdims=True) / total
        g = -(w * dt * dz).sum(-1) / (w * dt * dt).sum(-1)
        squares = (w * (dz + g[..., None] * dt) ** 2).sum((-1, -2))
        best = squares.argmin(-1)[..., None]
        if zoom < ZOOMS - 1:
            low = np.take_along_axis(share, np.maximum(best - 1, 0), -1)
            high = np.take_along_axis(share, np.minimum(best + 1, share.shape[-1] - 1), -1)
            share = low + (high - low) * np.linspace(0, 1, 11)
    arm, baseline = (np.take_along_axis(g[..., a], best, -1)[..., 0] for a in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((arm > 0) & (baseline > 0), np.log(10) * (baseline / arm - 1), np.nan)


def as_compute(nats: float, g: float, loss: float) -> float:
    """The relative extra compute c that a loss difference of ``nats`` is worth: nats = g L ln(1 + c)."""
    return float(np.expm1(nats / (g * loss)))

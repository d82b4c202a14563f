"""Simulated suites: two arms over sizes and seeds, with the noise and misfit that real ones have.

Noise is that of the ``cpu`` profile (sd .02-.03 nats per byte by seed); the shock sizes are assumptions, to be
replaced by the residuals of the first real records. Batched: nothing here loops over suites.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DECADES = 1.7
SCENARIOS = ("clean", "grid_error", "shape_shocks", "arm_by_size", "unequal_sds", "skew", "drift", "floor")
CURVATURE = 0.045
"""Nats per octave squared of learning rate."""


@dataclass(frozen=True)
class Law:
    """L = floor + scale (C / ratio)^-exponent; drift changes the ln ratio per decade of compute."""

    floor: float = 0.0
    scale: float = 2.54
    exponent: float = 0.12
    ratio: float = 1.0
    drift: float = 0.0

    def loss(self, log_compute: Array) -> Array:
        # Exponent of the arm such that ln ratio grows by `drift` per decade of compute.
        g = self.exponent / (1 + self.drift / np.log(10))
        middle = DECADES * np.log(10) / 2
        at = self.scale * np.exp(-self.exponent * (middle - np.log(self.ratio)))
        return self.floor + at * np.exp(-g * (log_compute - middle))


def laws(scenario: str, ratio: float) -> tuple[Law, Law]:
    """(arm, baseline)."""
    if scenario == "clean":
        return Law(ratio=ratio), Law()
    floor = {"floor": 0.9, "scale": 1.64, "exponent": 0.174}
    return Law(ratio=ratio, drift=0.1 if scenario == "drift" else 0.0, **floor), Law(**floor)


def truth(scenario: str, ratio: float, sizes: int) -> float:
    """Mean ln ratio over the losses that both noise-free curves reach."""
    arm, baseline = laws(scenario, ratio)
    x = np.linspace(0, DECADES * np.log(10), 4001)
    a, b = arm.loss(x), baseline.loss(x)
    level = np.linspace(max(a[-1], b[-1]), min(a[0], b[0]), 2002)[1:-1]
    gap = np.interp(-level, -a, x) - np.interp(-level, -b, x)
    # The estimators average over ln L, evenly.
    weight = 1 / level
    return float((gap * weight).sum() / weight.sum())


def suites(
    scenario: str, sizes: int, seeds: int, count: int, ratio: float, rng: np.random.Generator, sd: float = 1.0
) -> tuple[Array, Array]:
    """(ln C (count, 2, J), losses (count, 2, J, n)), arm first; ``sd`` scales the seed noise."""
    x = np.linspace(0, DECADES * np.log(10), sizes)
    arm, baseline = laws(scenario, ratio)
    mean = np.broadcast_to(np.stack([arm.loss(x), baseline.loss(x)]), (count, 2, sizes)).copy()
    if scenario == "grid_error":
        # What is left of a fitted choice on an octave grid: a quadratic of its error in octaves.
        mean += CURVATURE * rng.normal(0, 0.25, mean.shape) ** 2
    if scenario in ("shape_shocks", "arm_by_size"):
        mean += rng.normal(0, 0.03, (count, 1, sizes))
    if scenario == "arm_by_size":
        mean += rng.normal(0, 0.01, mean.shape)
    sds = np.array([0.02, 0.03])[:, None] * np.ones(sizes)
    if scenario == "unequal_sds":
        sds = sds * np.linspace(2.0, 0.7, sizes)
    shape = (count, 2, sizes, seeds)
    if scenario == "skew":
        noise = rng.exponential(1.0, shape) - 1
    else:
        # Seeds correlate between arms as measured: -.6 to +.2.
        common = rng.standard_normal((count, 1, sizes, seeds))
        own = rng.standard_normal(shape)
        sign = np.array([-1.0, 1.0])[None, :, None, None]
        noise = np.sqrt(0.3) * sign * common + np.sqrt(0.7) * own
    return np.broadcast_to(x, (count, 2, sizes)), mean[..., None] + sd * sds[..., None] * noise


def chunked(function: Callable[[Array, Array], tuple[Array, Array, float]], x: Array, y: Array, size: int = 500):
    """A batched (theta, se, df) in pieces that fit the cache."""
    pieces = [function(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
    return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces]), pieces[0][2]

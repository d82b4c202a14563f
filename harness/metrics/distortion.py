"""What distortion a rate must cost on a Gaussian with independent parts: bounds, and DiffC's closed forms.

Distortions are mean square errors over the parts, rates bits in all. ``variances``: (n,), above 0. No torch here:
reports draw these curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import HarnessError

Array = NDArray[np.float64]
HALVINGS = 200
"""Of an interval of logarithms: more than float64 has bits."""
FAR = 80.0
"""Distance, in natural logarithms, beyond which a water level is taken to be at its end."""


def shannon_distortion(variances: ArrayLike, bits: float) -> float:
    """Least mean square error that so many bits allow: reverse water-filling (Cover and Thomas, theorem 10.3.3).

    D = mean min(level, l_i) at the level where R = 1/2 sum log2+ (l_i / level).
    """
    l = _checked(variances, bits)
    high = float(np.log(l).max())

    def rate(log_level: float) -> float:
        return float(np.maximum(0.0, np.log(l) - log_level).sum()) / (2 * math.log(2))

    level = _root(rate, bits, high - 2 * math.log(2) * bits - FAR, high)
    return float(np.minimum(l, math.exp(level)).mean())


def realism_distortion(variances: ArrayLike, bits: float) -> float:
    """Least mean square error that so many bits allow where what comes out must be distributed as what goes in.

    Each part is sent at rate R_i to e_i = 2^(-2 R_i) and scaled back up to its variance: D_i = 2 l_i (1 - sqrt(1 -
    e_i)), with e_i / sqrt(1 - e_i) = y_i = level / l_i at the best split. From y all else follows without
    cancellation: sqrt(1 - e) = 2 / (y + sqrt(y^2 + 4)), R = ln(1 + (sqrt(1 + 4 / y^2) - 1) / 2) / (2 ln 2).
    """
    l = _checked(variances, bits)
    if bits == 0:
        return float(2 * l.mean())

    def rate(log_level: float) -> float:
        squared = 4 * np.exp(-2 * np.clip(log_level - np.log(l), -FAR, FAR))
        return float(np.log1p(squared / (np.sqrt(1 + squared) + 1) / 2).sum()) / (2 * math.log(2))

    low, high = float(np.log(l).min()), float(np.log(l).max())
    level = _root(rate, bits, max(low - 2 * math.log(2) * bits, low - FAR) - 2, high + FAR)
    y = np.exp(np.clip(level - np.log(l), -FAR, FAR))
    # 1 - 2 / (y + sqrt(y^2 + 4)), without cancellation where y is small.
    root = np.sqrt(y**2 + 4)
    return float((2 * l * (y + y**2 / (root + 2)) / (y + root)).mean())


def diffc_bits(variances: ArrayLike, alpha_bar: float) -> float:
    """Bits of sending sqrt(a) x0 + sqrt(1 - a) e exactly: 1/2 sum log2 (1 + a l_i / (1 - a)) (2206.08889)."""
    l = _checked(variances, 0.0)
    return float(np.log1p(alpha_bar * l / (1 - alpha_bar)).sum()) / (2 * math.log(2))


def diffc_distortion(variances: ArrayLike, alpha_bar: float, output: str = "mean") -> float:
    """Mean square error of what is made of it: ``mean`` l (1 - a) / (a l + 1 - a); ``sample`` twice that; ``flow``,
    the probability flow, 2 l (1 - sqrt(a l / (a l + 1 - a)))."""
    l, left = _checked(variances, 0.0), 1 - alpha_bar
    lost = left / (alpha_bar * l + left)
    if output == "flow":
        # 1 - sqrt(1 - lost), without cancellation.
        return float((2 * l * lost / (1 + np.sqrt(1 - lost))).mean())
    if output not in ("mean", "sample"):
        raise HarnessError(f"output {output!r} of DiffC; give mean, flow or sample")
    return float((l * lost).mean()) * (2 if output == "sample" else 1)


def diffc_at_bits(variances: ArrayLike, bits: float, output: str = "mean") -> float:
    """``diffc_distortion`` at the noise level whose ``diffc_bits`` are these."""
    l = _checked(variances, bits)

    def rate(log_noise: float) -> float:
        return float(np.logaddexp(0.0, np.log(l) - log_noise).sum()) / (2 * math.log(2))

    low, high = float(np.log(l).min()), float(np.log(l).max())
    log_noise = _root(rate, bits, low - 2 * math.log(2) * bits - FAR, high + FAR)
    return diffc_distortion(l, 1 / (1 + math.exp(log_noise)), output)


def decibels(distortions: Sequence[float] | Array, peak: float = 2.0) -> Array:
    """PSNR in dB of mean square errors in [-1, 1]."""
    return 10 * np.log10(peak**2 / np.asarray(distortions, dtype=float))


def _root(falling: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a falling function takes a value, by halving."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > wanted else (low, middle)
    return (low + high) / 2


def _checked(variances: ArrayLike, bits: float) -> Array:
    l = np.asarray(variances, dtype=float)
    if l.ndim != 1 or not len(l) or not (np.isfinite(l) & (l > 0)).all():
        raise HarnessError("variances must be a list of numbers above 0")
    if not (math.isfinite(bits) and bits >= 0):
        raise HarnessError(f"bits must be a number from 0 on, got {bits}")
    return l

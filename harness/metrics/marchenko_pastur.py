"""Ranks of an untrained Gaussian matrix: the baseline that a trained matrix is compared with.

Limits for rows, columns -> infinity at fixed q = smaller / larger side (Marchenko and Pastur, 1967). A matrix
of side 1024 is within about 1 % of them, of side 256 within 4 % (the largest singular value fluctuates
most). No torch here: reports use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.errors import HarnessError, unknown

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)


def _expectation(f: Callable[[np.ndarray], np.ndarray], q: float, upper: float = math.pi) -> float:
    """E f(x), x an eigenvalue of W W^T / larger side, over those above the quantile of angle ``upper``.

    x = 1 + q + 2 sqrt(q) cos(angle) turns the density into 2 sin^2(angle) / (pi x).
    """
    angle = (_NODES + 1) * upper / 2
    # 1 + q + 2 sqrt(q) cos(angle), without cancellation at the lower edge.
    x = (1 - math.sqrt(q)) ** 2 + 4 * math.sqrt(q) * np.cos(angle / 2) ** 2
    return float((f(x) * 2 * np.sin(angle) ** 2 / (math.pi * x)) @ _WEIGHTS) * upper / 2


def _entropy(q: float, n: int, gamma: float) -> float:
    """Entropy (nats) of p = s^gamma / sum s^gamma over n singular values."""
    mean = _expectation(lambda x: x ** (gamma / 2), q)
    return math.log(n * mean) - _expectation(lambda x: x ** (gamma / 2) * np.log(x) * gamma / 2, q) / mean


def _energy_rank(q: float, n: int, share: float) -> float:
    low, high = 0.0, math.pi
    for _ in range(60):
        middle = (low + high) / 2
        if _expectation(lambda x: x, q, middle) < share:
            low = middle
        else:
            high = middle
    return n * _expectation(np.ones_like, q, high)


def gaussian_limit(functional: str, rows: int, columns: int, **settings: Any) -> float:
    """Value of a rank functional on an untrained Gaussian matrix of this shape, as the shape grows.

    ``functional`` and ``settings`` are a rank's name and fields (absent ones at the rank's defaults). Raises
    HarnessError for sizes below 1 and for absolute counts, UnknownNameError for other names.
    """
    if rows < 1 or columns < 1:
        raise HarnessError(f"gaussian_limit: rows and columns must be at least 1, got {rows} x {columns}")
    n, q = min(rows, columns), min(rows, columns) / max(rows, columns)
    root = math.sqrt(q)

    def numerical_rank() -> float:
        if not settings.get("relative", True):
            raise HarnessError(
                "gaussian_limit: an absolute numerical rank depends on the matrix's scale; "
                "take relative: true"
            )
        cut = (settings.get("threshold", 1e-3) * (1 + root)) ** 2
        cosine = (cut - 1 - q) / (2 * root)
        return n * _expectation(np.ones_like, q, math.acos(min(1.0, max(-1.0, cosine))))

    def energy_rank() -> float:
        share = settings.get("share", 0.99)
        return _energy_rank(q, n, share if settings.get("squared", False) else share**2)

    values: dict[str, Callable[[], float]] = {
        "nuclear_ratio": lambda: n * _expectation(np.sqrt, q) / (1 + root),
        "stable_rank": lambda: n / (1 + root) ** 2,
        "nuclear_over_frobenius": lambda: n * _expectation(np.sqrt, q) ** 2,
        "participation_ratio": lambda: n / (1 + q),
        "entropy_rank": lambda: math.exp(_entropy(q, n, settings.get("gamma", 1.0))),
        "rankme": lambda: math.exp(_entropy(q, n, 1.0)),
        "svd_entropy": lambda: (
            1.0 if n == 1 else _entropy(q, n, settings.get("gamma", 2.0)) / math.log(n)
        ),
        "numerical_rank": numerical_rank,
        "energy_rank": energy_rank,
    }
    if functional not in values:
        raise unknown("rank with a Gaussian limit", functional, values)
    return values[functional]()

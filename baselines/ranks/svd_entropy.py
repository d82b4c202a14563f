"""Normalised SVD entropy: entropy of the squared spectrum over log n (2502.16982, section 3.4).

Not exponentiated, and not invariant under zero padding, since n grows. An untrained Gaussian matrix has
1 - q / (2 log n), q = n / larger side: compare with that, not with 1. A single row or column has 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.ranks._spectrum import checked, defined, entropy, normalised
from harness.registry import register


@register("rank")
@dataclass(frozen=True, kw_only=True)
class SvdEntropy:
    """H(p) / log n, p = s^gamma / sum s^gamma, n the smaller side; in [0, 1]."""

    gamma: float = 2.0
    """Power of the singular values in p; Moonlight's is 2."""

    def __post_init__(self) -> None:
        if not 0 < self.gamma < float("inf"):
            raise ValueError(f"svd_entropy: gamma must be positive and finite, got {self.gamma!r}")

    def __call__(self, singular_values: Tensor, shape: tuple[int, int]) -> Tensor:
        """(..., n) -> (...), float64; 0 for a zero matrix, NaN for a NaN spectrum."""
        s = checked(singular_values, shape, "svd_entropy")
        if min(shape) == 1:
            return defined(torch.ones_like(s[..., 0]), s)
        return defined(entropy(normalised(s) ** self.gamma) / math.log(min(shape)), s)

    def definition(self) -> Mapping[str, object]:
        """Definition id and what it depends on; centring is the caller's, and none is done here."""
        return {
            "id": f"svd_entropy(gamma={self.gamma:g})",
            "gamma": self.gamma,
            "order": 1,
            "normalised": "log n",
            "centred": False,
        }

"""Stable rank: squared Frobenius norm over squared spectral norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from baselines.ranks._spectrum import checked, defined, normalised
from harness.registry import register


@register("rank")
@dataclass(frozen=True, kw_only=True)
class StableRank:
    """sum s^2 / s_1^2, in [1, rank]: the Hill number of order infinity of s^2. Needs no SVD."""

    def __call__(self, singular_values: Tensor, shape: tuple[int, int]) -> Tensor:
        """(..., n) -> (...), float64; 0 for a zero matrix, NaN for a NaN spectrum."""
        s = checked(singular_values, shape, "stable_rank")
        return defined(normalised(s).square().sum(-1), s)

    def definition(self) -> Mapping[str, object]:
        """Definition id and what it depends on; centring is the caller's, and none is done here."""
        return {
            "id": "stable_rank",
            "gamma": 2,
            "order": "infinity",
            "normalised": False,
            "centred": False,
        }

"""Participation ratio: (sum s^2)^2 / sum s^4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from baselines.ranks._spectrum import checked, defined, normalised
from harness.registry import register


@register("rank")
@dataclass(frozen=True, kw_only=True)
class ParticipationRatio:
    """In [1, rank]: the Hill number of order 2 of s^2. One Gram product gives it, without an SVD."""

    def __call__(self, singular_values: Tensor, shape: tuple[int, int]) -> Tensor:
        """(..., n) -> (...), float64; 0 for a zero matrix, NaN for a NaN spectrum."""
        s = checked(singular_values, shape, "participation_ratio")
        x = normalised(s).square()
        return defined(x.sum(-1).square() / x.square().sum(-1).clamp_min(1.0), s)

    def definition(self) -> Mapping[str, object]:
        """Definition id and what it depends on; centring is the caller's, and none is done here."""
        return {
            "id": "participation_ratio",
            "gamma": 2,
            "order": 2,
            "normalised": False,
            "centred": False,
        }

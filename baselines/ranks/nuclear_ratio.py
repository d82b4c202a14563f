"""Nuclear ratio: nuclear norm over spectral norm (intrinsic dimension where positive semidefinite).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from baselines.ranks._spectrum import checked, defined, normalised
from harness.registry import register


@register("rank")
@dataclass(frozen=True, kw_only=True)
class NuclearRatio:
    """sum s / s_1, in [1, rank]: the Hill number of order infinity of s."""

    def __call__(self, singular_values: Tensor, shape: tuple[int, int]) -> Tensor:
        """(..., n) -> (...), float64; 0 for a zero matrix, NaN for a NaN spectrum."""
        s = checked(singular_values, shape, "nuclear_ratio")
        return defined(normalised(s).sum(-1), s)

    def definition(self) -> Mapping[str, object]:
        """Definition id and what it depends on; centring is the caller's, and none is done here."""
        return {
            "id": "nuclear_ratio",
            "gamma": 1,
            "order": "infinity",
            "normalised": False,
            "centred": False,
        }

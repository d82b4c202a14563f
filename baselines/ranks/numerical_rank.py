"""Numerical rank: the number of singular values above a threshold.

Below about 1e-7 (float32) or 4e-3 (bfloat16) of the largest, the stored weights' rounding is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from baselines.ranks._spectrum import checked, defined, normalised
from harness.registry import register


@register("rank")
@dataclass(frozen=True, kw_only=True)
class NumericalRank:
    """#{s_i > threshold} or #{s_i / s_1 > threshold}."""

    threshold: float = 1e-3
    """Smallest singular value that counts: a share of the largest, or an absolute value."""
    relative: bool = True
    """Whether the threshold is a share of the largest singular value. Absolute counts are not scale
    invariant."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < float("inf") or (self.relative and self.threshold >= 1):
            raise ValueError(
                "numerical_rank: threshold must be in [0, 1) where relative, and not negative, "
                f"got {self.threshold!r}"
            )

    def __call__(self, singular_values: Tensor, shape: tuple[int, int]) -> Tensor:
        """(..., n) -> (...), float64; 0 for a zero matrix, NaN for a NaN spectrum."""
        s = checked(singular_values, shape, "numerical_rank")
        x = normalised(s) if self.relative else s
        return defined((x > self.threshold).sum(-1), s)

    def definition(self) -> Mapping[str, object]:
        """Definition id and what it depends on; centring is the caller's, and none is done here."""
        kind = "relative" if self.relative else "absolute"
        return {
            "id": f"numerical_rank({kind}, threshold={self.threshold:g})",
            "gamma": 0,
            "order": 0,
            "threshold": self.threshold,
            "relative": self.relative,
            "normalised": False,
            "centred": False,
        }

"""Energy rank: how many singular values hold a share of the Frobenius norm.

kexue.fm 10847. An identity of size n has less than n once n is large: its objection to this definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from baselines.ranks._spectrum import checked, defined, normalised
from harness.registry import register


@register("rank")
@dataclass(frozen=True, kw_only=True)
class EnergyRank:
    """Smallest r with (sum_{i<=r} s_i^2 / sum s_i^2)^(1/2) >= share (without the root if ``squared``)."""

    share: float = 0.99
    """Share of the norm (or of its square) to be held, in (0, 1]."""
    squared: bool = False
    """Whether the share is of the squared norm; kexue.fm 10847 takes the root."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"energy_rank: share must be in (0, 1], got {self.share!r}")

    def __call__(self, singular_values: Tensor, shape: tuple[int, int]) -> Tensor:
        """(..., n) -> (...), float64; 0 for a zero matrix, NaN for a NaN spectrum."""
        s = checked(singular_values, shape, "energy_rank")
        energy = normalised(s).square().cumsum(-1)
        share = self.share if self.squared else self.share**2
        # The last partial sum is the total itself, so that share 1 is reached in spite of rounding.
        reached = energy >= share * energy[..., -1:] * (1 - 1e-12)
        return defined(s.shape[-1] - reached.sum(-1) + 1, s)

    def definition(self) -> Mapping[str, object]:
        """Definition id and what it depends on; centring is the caller's, and none is done here."""
        return {
            "id": f"energy_rank(share={self.share:g}, {'squared' if self.squared else 'root'})",
            "gamma": 2,
            "share": self.share,
            "squared": self.squared,
            "normalised": False,
            "centred": False,
        }

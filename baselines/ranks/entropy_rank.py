"""Entropy rank: exponential of the entropy of the normalised spectrum (Roy and Vetterli, 2007).

gamma = 1 is the published definition; gamma = 2 weighs by energy. Both are called "effective rank" in the
wild, and differ by up to 40 times on one matrix (s_i = 1/i, n = 1024: 182 against 5.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from baselines.ranks._spectrum import checked, defined, entropy, normalised
from harness.registry import register


@register("rank")
@dataclass(frozen=True, kw_only=True)
class EntropyRank:
    """exp(H(p)), p = s^gamma / sum s^gamma, in [1, rank]: the Hill number of order 1."""

    gamma: float = 1.0
    """Power of the singular values in p: 1 is Roy and Vetterli's, 2 Moonlight's (2502.16982)."""

    def __post_init__(self) -> None:
        if not 0 < self.gamma < float("inf"):
            raise ValueError(f"entropy_rank: gamma must be positive and finite, got {self.gamma!r}")

    def __call__(self, singular_values: Tensor, shape: tuple[int, int]) -> Tensor:
        """(..., n) -> (...), float64; 0 for a zero matrix, NaN for a NaN spectrum."""
        s = checked(singular_values, shape, "entropy_rank")
        return defined(entropy(normalised(s) ** self.gamma).exp(), s)

    def definition(self) -> Mapping[str, object]:
        """Definition id and what it depends on; centring is the caller's, and none is done here."""
        return {
            "id": f"entropy_rank(gamma={self.gamma:g})",
            "gamma": self.gamma,
            "order": 1,
            "normalised": False,
            "centred": False,
        }

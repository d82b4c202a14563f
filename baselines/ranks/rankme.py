"""RankMe: exponential of the entropy of an embedding matrix's spectrum (2210.02885).

The entropy rank with gamma = 1 but for eps; it is for embeddings of many samples, where the entropy rank is
for weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.ranks._spectrum import checked, defined, normalised
from harness.registry import register


@register("rank")
@dataclass(frozen=True, kw_only=True)
class RankMe:
    """exp(-sum p log p), p = s / sum s + eps, of a samples x features matrix, not centred."""

    eps: float = 1e-7
    """Added to every p. It floors the rank: a rank-1 matrix of 4096 features has 1.007 at 1e-7."""

    def __post_init__(self) -> None:
        if not 0 <= self.eps < 1:
            raise ValueError(f"rankme: eps must be in [0, 1), got {self.eps!r}")

    def __call__(self, singular_values: Tensor, shape: tuple[int, int]) -> Tensor:
        """(..., n) -> (...), float64; 0 for a zero matrix, NaN for a NaN spectrum."""
        s = checked(singular_values, shape, "rankme")
        x = normalised(s)
        p = x / x.sum(-1, keepdim=True).clamp_min(1.0) + self.eps
        return defined((-torch.xlogy(p, p).sum(-1)).exp(), s)

    def definition(self) -> Mapping[str, object]:
        """Definition id and what it depends on; centring is the caller's, and none is done here."""
        return {
            "id": f"rankme(eps={self.eps:g})",
            "gamma": 1,
            "order": 1,
            "eps": self.eps,
            "normalised": False,
            "centred": False,
        }

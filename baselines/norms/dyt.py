"""DyT: gain tanh(alpha x) in the place of a normalisation (2503.10622).

y = sqrt(d) tanh(x / (rho sqrt(d))) solves y' = (1 - y^2 / d) / rho: the slope of one component of RMSNorm, with the
root mean square rho held fixed (kexue.fm 10831).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from baselines.norms._pointwise import Function, PointwiseNorm
from harness.registry import register


@register("norm")
@dataclass(frozen=True, kw_only=True)
class DyT(PointwiseNorm):
    """tanh of each number alone, in the place of a normalisation."""

    @property
    def f(self) -> Function:
        """tanh."""
        return torch.tanh

"""DyISRU: gain x / sqrt(x^2 + 1 / alpha^2) in the place of a normalisation (kexue.fm 10831; 2503.21708).

One component of RMSNorm, the others held fixed, is exactly this: sqrt(d) x / sqrt(x^2 + S), S their sum of squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.norms._pointwise import Function, PointwiseNorm
from harness.registry import register


def isru(x: Tensor) -> Tensor:
    """x / sqrt(1 + x^2)."""
    return x * torch.rsqrt(1 + x * x)


@register("norm")
@dataclass(frozen=True, kw_only=True)
class DyISRU(PointwiseNorm):
    """The inverse square root unit of each number alone, in the place of a normalisation."""

    @property
    def f(self) -> Function:
        """The inverse square root unit."""
        return isru

"""Derf: gain erf(alpha x + shift) in the place of a normalisation (2512.10938)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from baselines.norms._pointwise import Function, PointwiseNorm
from harness.registry import register


@register("norm")
@dataclass(frozen=True, kw_only=True)
class Derf(PointwiseNorm):
    """The error function of each number alone, in the place of a normalisation."""

    shift: bool = True
    """Whether a trained shift (0 at the start) stands inside."""

    @property
    def f(self) -> Function:
        """The error function."""
        return torch.erf

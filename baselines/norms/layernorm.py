"""LayerNorm (1607.06450): (x - mean(x)) / sqrt(var(x) + eps), with a gain and optionally a bias a channel.

The operation itself is torch's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

from harness.registry import register


@register("norm")
@dataclass(frozen=True, kw_only=True)
class LayerNorm:
    """Normalisation by mean and variance over the channels."""

    eps: float = 1e-5
    """Added to the variance."""
    gain: bool = True
    """Whether each channel has a trained gain (1 at the start)."""
    bias: bool = True
    """Whether each channel has a trained bias (0 at the start); needs the gain."""

    def __post_init__(self) -> None:
        if not (self.eps >= 0 and math.isfinite(self.eps)):
            raise ValueError(f"LayerNorm: eps must be a number >= 0, got {self.eps!r}")
        if self.bias and not self.gain:
            raise ValueError("LayerNorm: bias true needs gain true; set bias to false")

    def build(self, width: int, site: Literal["attention", "feed_forward", "final"]) -> nn.Module:
        """torch.nn.LayerNorm over the last dimension, the same at every site."""
        return nn.LayerNorm(width, eps=self.eps, elementwise_affine=self.gain, bias=self.bias)

    def embedding_scale(self, width: int) -> float | None:
        """None: the first norm makes the embedding's scale irrelevant to its branch."""
        return None

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
    """Whether each channel has a trained gain."""
    gain_init: float = 1.0
    """The gains at the start: other than 1 to judge what starts elsewhere (``gain: matched``) by its like."""
    bias: bool = True
    """Whether each channel has a trained bias (0 at the start); needs the gain."""

    def __post_init__(self) -> None:
        if not (self.eps >= 0 and math.isfinite(self.eps)):
            raise ValueError(f"LayerNorm: eps must be a number >= 0, got {self.eps!r}")
        if self.bias and not self.gain:
            raise ValueError("LayerNorm: bias true needs gain true; set bias to false")
        if not 0 < self.gain_init < math.inf:
            raise ValueError(f"LayerNorm: gain_init must be a number above 0, got {self.gain_init!r}")
        if self.gain_init != 1 and not self.gain:
            raise ValueError(f"LayerNorm: gain_init {self.gain_init!r} needs gain true; leave it at 1")

    def build(self, width: int, site: Literal["attention", "feed_forward", "final"]) -> nn.Module:
        """torch.nn.LayerNorm over the last dimension, the same at every site."""
        module = nn.LayerNorm(width, eps=self.eps, elementwise_affine=self.gain, bias=self.bias)
        if self.gain:
            nn.init.constant_(module.weight, self.gain_init)
        return module

    def embedding_scale(self, width: int) -> float | None:
        """None: the first norm makes the embedding's scale irrelevant to its branch."""
        return None

"""No normalisation at all: the input as it is, with a gain a channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from harness.registry import register


class Gains(nn.Module):
    """A trained factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


@register("norm")
@dataclass(frozen=True, kw_only=True)
class Identity:
    """Nothing in the place of a normalisation, for comparison."""

    def build(self, width: int, site: Literal["attention", "feed_forward", "final"]) -> nn.Module:
        """A gain a channel."""
        return Gains(width)

    def embedding_scale(self, width: int) -> float | None:
        """None."""
        return None

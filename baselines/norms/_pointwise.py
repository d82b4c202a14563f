"""What point-wise stand-ins for normalisation share: y = gain f(alpha x + shift) + bias, channel by channel."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Site = Literal["attention", "feed_forward", "final"]
Function = Callable[[Tensor], Tensor]
"""Odd and rising, of a tensor of any shape and dtype."""


class Pointwise(nn.Module):
    """Trained vectors about a fixed function. ``alpha`` may change its sign: f is odd, so that gains absorb it."""

    def __init__(
        self, f: Function, width: int, alpha: float, gain: float, *, channelwise: bool, bias: bool, shift: bool
    ) -> None:
        super().__init__()
        self.f = f
        self.alpha = nn.Parameter(torch.full((width if channelwise else 1,), alpha))
        self.weight = nn.Parameter(torch.full((width,), gain))
        self.shift = nn.Parameter(torch.zeros(1)) if shift else None
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        inner = x * self.alpha if self.shift is None else torch.addcmul(self.shift, x, self.alpha)
        y = self.f(inner) * self.weight
        return y if self.bias is None else y + self.bias


def matched_gain(f: Function, alpha: float) -> float:
    """1 / rms f(alpha z) over unit normals z: what makes a branch start as large as behind a normalisation."""
    # On the CPU also where a network is built without numbers (device meta), as base models are.
    z = torch.linspace(-12.0, 12.0, 48_001, dtype=torch.float64, device="cpu")
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return float(1 / torch.trapezoid(f(alpha * z).square() * density, z).sqrt())


@dataclass(frozen=True, kw_only=True)
class PointwiseNorm(ABC):
    """A function of each number alone, in the place of a normalisation; nothing is normalised."""

    alpha: float = 0.5
    """Slope inside; trained."""
    alpha_attention: float | None = None
    """The same before attention; null: alpha."""
    channelwise: bool = False
    """Whether each channel has a slope of its own."""
    gain: Literal["unit", "matched", "sqrt"] = "unit"
    """unit: gains start at 1; matched: so that unit normals come out with unit RMS; sqrt: at sqrt(width)."""
    bias: bool = False
    """Whether each channel has a trained bias (0 at the start)."""
    shift: bool = False
    """Whether a trained shift (0 at the start) stands inside."""
    embedding_scalar: bool = False
    """Whether the embedding is followed by a trained scalar that starts at sqrt(width), as in published recipes."""

    @property
    @abstractmethod
    def f(self) -> Function:
        """The function of a number."""

    def __post_init__(self) -> None:
        for name in ("alpha", "alpha_attention"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{type(self).__name__}: {name} must be a number above 0, got {value!r}")

    def build(self, width: int, site: Site) -> nn.Module:
        """One function at every site; before attention it may start with a slope of its own.

        ValueError for a site of another name, which would take the wrong slope unnoticed.
        """
        if site not in get_args(Site):
            raise ValueError(f"{type(self).__name__}: unknown site {site!r}; valid: {', '.join(get_args(Site))}")
        own = self.alpha_attention if site == "attention" else None
        alpha = self.alpha if own is None else own
        gain = math.sqrt(width) if self.gain == "sqrt" else 1.0
        if self.gain == "matched":
            gain = matched_gain(self.f, alpha)
        return Pointwise(
            self.f, width, alpha, gain, channelwise=self.channelwise, bias=self.bias, shift=self.shift
        )  # fmt: skip

    def embedding_scale(self, width: int) -> float | None:
        """sqrt(width), if asked for."""
        return math.sqrt(width) if self.embedding_scalar else None

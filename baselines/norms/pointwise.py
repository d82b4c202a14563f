"""Other functions in the place of a normalisation: what of DyT's shape matters (2512.10938, section 4 and table 7).

Beside tanh, erf and the inverse square root unit, each a method of its own: bounded ones that bend sooner or later,
and one that is unbounded, which that paper finds to diverge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from baselines.norms._pointwise import Function, PointwiseNorm
from harness.registry import register


def arctan(x: Tensor) -> Tensor:
    """2/pi arctan x."""
    return torch.atan(x) * (2 / math.pi)


def hardtanh(x: Tensor) -> Tensor:
    """x, held between -1 and 1."""
    return x.clamp(-1.0, 1.0)


def arcsinh_clip(x: Tensor) -> Tensor:
    """arcsinh x, held between -1 and 1."""
    return torch.asinh(x).clamp(-1.0, 1.0)


def satursin(x: Tensor) -> Tensor:
    """sin x up to its first extremes, and those beyond."""
    return torch.sin(x.clamp(-math.pi / 2, math.pi / 2))


def cube_root(x: Tensor) -> Tensor:
    """sign(x) |x|^(2/3), the cube root of x^2; its slope at 0 is taken as 0, where it has none."""
    least = torch.finfo(x.dtype).tiny
    return x.sign() * x.abs().clamp_min(least) ** (2 / 3)


FUNCTIONS: dict[str, Function] = {f.__name__: f for f in (arctan, hardtanh, arcsinh_clip, satursin, cube_root)}


@register("norm")
@dataclass(frozen=True, kw_only=True)
class PointwiseFunction(PointwiseNorm):
    """A function of each number alone, chosen by name, in the place of a normalisation."""

    function: Literal["arctan", "hardtanh", "arcsinh_clip", "satursin", "cube_root"] = "arctan"
    """arctan: 2/pi arctan x. hardtanh: x within +-1 (the source's linear-clip). arcsinh_clip: arcsinh x within +-1.
    satursin: sin x up to +-pi/2. cube_root: sign(x) |x|^(2/3), unbounded."""

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise ValueError(f"Pointwise: unknown function {self.function!r}; valid: {', '.join(FUNCTIONS)}")
        super().__post_init__()

    @property
    def f(self) -> Function:
        """The chosen one."""
        return FUNCTIONS[self.function]

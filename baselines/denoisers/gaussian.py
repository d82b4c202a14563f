"""The exact denoiser of a Gaussian field whose spectrum falls as a photograph's: a Wiener filter, never trained.

On a torus, with power S(f) = v (1 + (f / corner)^2)^(-exponent / 2) at f cycles a pixel, scaled to the variance of
a pixel, along three axes of colour (grey, red against blue, green against both), which are independent:

    E[x0 | x] = F^-1( sqrt(a) S / (a S + 1 - a) F x ).

What it does not know of images (edges, faces) a codec has to pay for: it is the floor that a trained one must beat.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from harness.registry import register

VERSION = "gaussian 1"
"""Of the formulas above: another version is another denoiser to a file."""


@register("denoiser")
@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """E[x0 | x] of a stationary Gaussian field."""

    variance: float = 0.25
    """Of a pixel's channel, in [-1, 1]."""
    corner: float = 0.01
    """Cycles a pixel below which the spectrum is flat."""
    exponent: float = 2.4
    """How the power falls above the corner: 2 for scale-free pictures, more for smooth ones."""
    chroma: float = 0.06
    """Share of the variance that lies in the two axes of colour together."""

    multiple: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("variance", "corner", "exponent"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"Gaussian: {name} must be a number above 0, got {getattr(self, name)!r}")
        if not 0 < self.chroma < 1:
            raise ValueError(f"Gaussian: chroma must lie between 0 and 1, got {self.chroma!r}")

    @property
    def digest(self) -> bytes:
        """Of version and fields."""
        return hashlib.sha256(repr((VERSION, *astuple(self))).encode()).digest()[:8]

    def variances(self, height: int, width: int) -> Tensor:
        """(3 height width,) float64: the field's variance along each of its axes of colour and frequency."""
        half = _power(self, height, width).double()
        mirrored = half[:, :, 1 : (width + 1) // 2]
        return torch.cat([half.flatten(), mirrored.flatten()])

    def shaped(self, white_BCHW: Tensor) -> Tensor:
        """A sample of the field from each of independent unit normals: (B, 3, H, W) float32."""
        power_CHF = _power(self, white_BCHW.shape[-2], white_BCHW.shape[-1])
        fields = torch.fft.irfft2(torch.fft.rfft2(white_BCHW) * power_CHF.sqrt(), s=white_BCHW.shape[-2:])
        return torch.einsum("ac,bahw->bchw", _axes(), fields).contiguous()

    def predict(self, x_BCHW: Tensor, alpha_bar: float) -> Tensor:
        """The Wiener filter, colour axis by colour axis."""
        power_CHF = _power(self, x_BCHW.shape[-2], x_BCHW.shape[-1])
        gain_CHF = math.sqrt(alpha_bar) * power_CHF / (alpha_bar * power_CHF + (1 - alpha_bar))
        axes = _axes()
        in_axes = torch.einsum("ac,bchw->bahw", axes, x_BCHW)
        filtered = torch.fft.irfft2(torch.fft.rfft2(in_axes) * gain_CHF, s=x_BCHW.shape[-2:])
        return torch.einsum("ac,bahw->bchw", axes, filtered).contiguous()


@lru_cache(maxsize=8)
def _power(field: Gaussian, height: int, width: int) -> Tensor:
    """(3, height, width // 2 + 1): power of each colour axis at each frequency; its mean is the axis's variance."""
    rows = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    columns = torch.fft.fftfreq(width, dtype=torch.float64)[None]
    shape = (1 + (rows.square() + columns.square()) / field.corner**2) ** (-field.exponent / 2)
    shape = (shape / shape.mean())[:, : width // 2 + 1]
    of_axes = torch.tensor([1 - field.chroma, field.chroma / 2, field.chroma / 2], dtype=torch.float64)
    return (3 * field.variance * of_axes[:, None, None] * shape).float()


def _axes() -> Tensor:
    """(3, 3): grey, red against blue, green against both; rows of an orthogonal matrix."""
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    return rows / rows.square().sum(1, keepdim=True).sqrt()

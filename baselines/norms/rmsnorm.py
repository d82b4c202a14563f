"""RMSNorm (1910.07467): x / sqrt(mean(x^2) + eps), with a gain a channel.

The operation is torch's, which is one kernel on a GPU and several on a CPU; eager float32 on a CPU goes
through LayerNorm's backward kernel instead, which is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.registry import register


class _FusedRMSNorm(torch.autograd.Function):
    """x: (..., D); gain: (D). With mean 0, LayerNorm's backward lacks only its centring term."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = torch.addcmul(norm.new_tensor(eps), norm, norm, value=1.0 / x.shape[-1]).rsqrt_()
        ctx.save_for_backward(x, gain, scale)
        return (x * scale).mul_(gain)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, gain, scale = ctx.saved_tensors
        D = x.shape[-1]
        g = g.contiguous()
        mask = [True, ctx.needs_input_grad[1], False]
        dx, dgain, _ = torch.ops.aten.native_layer_norm_backward(
            g, x, [D], torch.zeros_like(scale), scale, gain, None, mask
        )
        # LayerNorm subtracts the mean of g * gain from the gradient; give it back.
        centring = torch.mv(g.view(-1, D), gain).view(scale.shape).mul_(scale)
        return dx.add_(centring, alpha=1.0 / D), dgain, None


class RMSNormModule(nn.Module):
    """RMSNorm over the last dimension, of ``width`` channels."""

    def __init__(self, width: int, eps: float, gain: bool) -> None:
        super().__init__()
        self.width, self.eps = width, eps
        self.weight = nn.Parameter(torch.ones(width)) if gain else None

    def forward(self, x: Tensor) -> Tensor:
        eager_cpu = not torch.compiler.is_compiling() and x.device.type == "cpu"
        if eager_cpu and x.dtype == torch.float32 and self.weight is not None:
            return _FusedRMSNorm.apply(x.contiguous(), self.weight, self.eps)
        return F.rms_norm(x, (self.width,), self.weight, self.eps)


@register("norm")
@dataclass(frozen=True, kw_only=True)
class RMSNorm:
    """Root-mean-square normalisation over the channels."""

    eps: float = 1e-6
    """Added to the mean square."""
    gain: bool = True
    """Whether each channel has a trained gain (1 at the start)."""

    def __post_init__(self) -> None:
        if not (self.eps >= 0 and math.isfinite(self.eps)):
            raise ValueError(f"RMSNorm: eps must be a number >= 0, got {self.eps!r}")

    def build(self, width: int, site: Literal["attention", "feed_forward", "final"]) -> nn.Module:
        """The same at every site."""
        return RMSNormModule(width, self.eps, self.gain)

    def embedding_scale(self, width: int) -> float | None:
        """None: the first norm makes the embedding's scale irrelevant to its branch."""
        return None

"""Element-wise operations of the models, each as a formula and, for eager float32 on a CPU, hand-fused.

Eager autograd makes five to ten passes over memory for each of these on a CPU, which costs as much as the
products of a small model. The fused forms make three or four, with the backward pass written out. Compiled
and CUDA code takes the formula. Tests hold the two against each other.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

QK_NORM_EPS = 1e-6
"""Added to the mean square of a query or key."""


def fusable(*tensors: Tensor) -> bool:
    """Whether the hand-fused forms apply: eager, float32, on a CPU."""
    return (
        not torch.compiler.is_compiling()
        and all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    )


# --- relu(x)^2 -------------------------------------------------------------------------------------------


class _Relu2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return (g * positive).mul_(2.0)


def relu2(x: Tensor) -> Tensor:
    """relu(x)^2 (2109.08668); any shape and dtype."""
    if not torch.compiler.is_compiling() and x.device.type == "cpu":
        return _Relu2.apply(x)
    return x.relu().square()


# --- rotary positions with normalised queries and keys ---------------------------------------------------


def rotary_table(context: int, head_width: int, base: float) -> Tensor:
    """(T, K/2, 2) cosines and sines of position * base^(-2i/K) (2104.09864, section 3.2.2)."""
    half = head_width // 2
    rate = base ** (-torch.arange(half, dtype=torch.float64, device="cpu") / half)
    angle_TI = torch.outer(torch.arange(context, dtype=torch.float64, device="cpu"), rate)
    return torch.stack((angle_TI.cos(), angle_TI.sin()), -1).float()


def rotate(x_BTGK: Tensor, table_TI2: Tensor) -> Tensor:
    """Turn each pair (2i, 2i + 1) of a head's coordinates by its position's angle, as a formula."""
    pairs = x_BTGK.unflatten(-1, (-1, 2))
    cos, sin = table_TI2[:, None, :, 0], table_TI2[:, None, :, 1]
    x, y = pairs[..., 0], pairs[..., 1]
    return torch.stack((x * cos - y * sin, x * sin + y * cos), -1).flatten(-2)


class _NormedRotary(torch.autograd.Function):
    """x -> rotate(x) / rms(x), in complex arithmetic; rotation keeps the norm, so the order is free."""

    @staticmethod
    def forward(ctx: Any, x_BTGK: Tensor, table: Tensor, normed: bool) -> Tensor:
        x = x_BTGK.contiguous()
        B, T, G, K = x.shape
        ctx.normed = normed
        y = torch.view_as_real(torch.view_as_complex(x.view(B, T, G * K // 2, 2)) * table).view(x.shape)
        if not normed:
            ctx.save_for_backward(table)
            return y
        mean_square = ((x * x).view(-1, K) @ x.new_full((K,), 1.0 / K)).view(B, T, G, 1)
        scale = mean_square.add_(QK_NORM_EPS).rsqrt_()
        y.mul_(scale)
        ctx.save_for_backward(table, y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        table, *saved = ctx.saved_tensors
        B, T, G, K = g.shape
        g = g.contiguous()
        if ctx.normed:
            # y = s R x, s = (x.x / K + eps)^(-1/2): dx = R^T (s g - y s (y.g) / K), as R keeps products.
            y, scale = saved
            along = ((y * g).view(-1, K) @ g.new_full((K,), -1.0 / K)).view(B, T, G, 1)
            g = (g * scale).addcmul_(y, along.mul_(scale))
        pairs = torch.view_as_complex(g.view(B, T, G * K // 2, 2))
        return torch.view_as_real(pairs * table.conj()).view(g.shape), None, None


def normed_rotary(x_BTGK: Tensor, table_TI2: Tensor, normed: bool) -> Tensor:
    """Queries and keys turned by their positions, after division by their RMS if ``normed``.

    x: (B, T, heads, K); table: see rotary_table, for at least T positions.
    """
    T, G, K = x_BTGK.shape[1:]
    table = table_TI2[:T]
    if fusable(x_BTGK):
        full = torch.view_as_complex(table[:, None].expand(T, G, K // 2, 2).contiguous()).view(T, -1)
        return _NormedRotary.apply(x_BTGK, full, normed)
    if normed:
        x_BTGK = F.rms_norm(x_BTGK, (K,), eps=QK_NORM_EPS)
    return rotate(x_BTGK, table)

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


def rotate(x_BTGK: Tensor, table_TGI2: Tensor) -> Tensor:
    """Turn each pair (2i, 2i + 1) of a head's coordinates by its position's angle, as a formula."""
    pairs = x_BTGK.unflatten(-1, (-1, 2))
    cos, sin = table_TGI2[..., 0], table_TGI2[..., 1]
    x, y = pairs[..., 0], pairs[..., 1]
    return torch.stack((x * cos - y * sin, x * sin + y * cos), -1).flatten(-2)


class _Heads(torch.autograd.Function):
    """The formula of ``heads`` in complex arithmetic; rotation keeps the norm, so their order is free.

    Outside of autocast, which would take the mean squares, being products, in bfloat16.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any, qkv_BTC: Tensor, table: Tensor, num_heads: int, normed: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        H = num_heads
        B, T, C = qkv_BTC.shape
        K = C // (3 * H)
        ctx.num_heads, ctx.normed = H, normed
        x = qkv_BTC.view(B, T, 3 * H, K)
        pairs = torch.view_as_complex(x[:, :, : 2 * H].view(B, T, H * K, 2))
        y = torch.view_as_real(pairs * table).view(B, T, 2 * H, K)
        if normed:
            mean_square = ((y * y).view(-1, K) @ y.new_full((K,), 1.0 / K)).view(B, T, 2 * H, 1)
            scale = mean_square.add_(QK_NORM_EPS).rsqrt_()
            ctx.save_for_backward(table, y.mul_(scale), scale)
        else:
            ctx.save_for_backward(table)
        q, k = y.transpose(1, 2).chunk(2, 1)
        return q, k, x[:, :, 2 * H :].transpose(1, 2)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        table, *saved = ctx.saved_tensors
        gq, gk, gv = (g.transpose(1, 2) for g in gradients)
        B, T, H, K = gv.shape
        dx = gv.new_empty(B, T, 3 * H, K)
        dx[:, :, 2 * H :] = gv
        g = torch.cat((gq, gk), 2)
        if ctx.normed:
            # y = s R x, s = (x.x / K + eps)^(-1/2): dx = R^T (s g - y s (y.g) / K), as R keeps products.
            y, scale = saved
            along = ((y * g).view(-1, K) @ g.new_full((K,), -1.0 / K)).view(B, T, 2 * H, 1)
            g.mul_(scale).addcmul_(y, along.mul_(scale))
        torch.mul(
            torch.view_as_complex(g.view(B, T, H * K, 2)), table.conj(),
            out=torch.view_as_complex(dx[:, :, : 2 * H].view(B, T, H * K, 2)),
        )
        return dx.view(B, T, 3 * H * K), None, None, None


def tables_for(table_TI2: Tensor, num_heads: int) -> Tensor:
    """The table repeated for queries and keys of every head, (T, 2 heads, K/2, 2): what ``heads`` takes.

    On a CPU in memory, so that a whole position is one run of memory; elsewhere as a view.
    """
    T, I, _ = table_TI2.shape
    repeated = table_TI2[:, None].expand(T, 2 * num_heads, I, 2)
    return repeated.contiguous() if fusable(table_TI2) else repeated


def heads(
    qkv_BTC: Tensor, table_TGI2: Tensor | None, num_heads: int, normed: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each (B, heads, T, K), in float32.

    Queries and keys are turned by their positions, after division by their RMS if ``normed``.
    qkv: (B, T, 3 heads K); table: tables_for T positions and these heads; None: they are not turned.
    """
    B, T, _ = qkv_BTC.shape
    qkv_BTC = qkv_BTC.float()
    if table_TGI2 is not None and fusable(qkv_BTC):
        table = torch.view_as_complex(table_TGI2.contiguous()).view(T, -1)
        return _Heads.apply(qkv_BTC.contiguous(), table, num_heads, normed)
    qk_BTGK, v_BTHK = qkv_BTC.view(B, T, 3 * num_heads, -1).split((2 * num_heads, num_heads), 2)
    if normed:
        qk_BTGK = F.rms_norm(qk_BTGK, qk_BTGK.shape[-1:], eps=QK_NORM_EPS)
    if table_TGI2 is not None:
        qk_BTGK = rotate(qk_BTGK, table_TGI2)
    q_BHTK, k_BHTK = qk_BTGK.transpose(1, 2).chunk(2, 1)
    return q_BHTK, k_BHTK, v_BTHK.transpose(1, 2)


def attention(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, scale: float, dtype: torch.dtype, causal: bool = True
) -> Tensor:
    """Softmax attention in this dtype; in float32 on a CPU, whose bfloat16 kernel is 2 to 4 times slower."""
    if q_BHTK.device.type != "cpu":
        q, k, v = q_BHTK.to(dtype), k_BHTK.to(dtype), v_BHTK.to(dtype)
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=causal, scale=scale)

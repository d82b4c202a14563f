"""What residual networks on sequences are made of: maps, attention, feed-forwards, blocks. Pre-norm, no biases.

Shapes: B sequences, T tokens (or patches), D width, H heads, K head width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.methods.norm import Norm
from harness.methods.parametrization import Parametrization
from harness.methods.roles import Role
from harness.models.operations import attention, heads, relu2
from harness.models.parameters import mark_residual, weight


@dataclass(frozen=True, kw_only=True)
class BlockArchitecture:
    """Sizes and choices of a network's blocks."""

    width: int
    depth: int
    """Blocks: each an attention and a feed-forward branch."""
    head_width: int
    causal: bool = True
    """Whether a position sees itself and those before it alone, or all."""
    feed_forward: str = "relu2"
    """relu2: down(relu(up x)^2). swiglu: down(silu(gate x) * up x)."""
    feed_forward_width: int = 0
    """0: four times the width."""
    qk_norm: bool = True
    """Queries and keys are divided by their RMS, head by head."""
    zero_query: bool = False
    zero_residual: bool = False
    """Each branch's last matrix starts at zero."""

    @property
    def num_heads(self) -> int:
        return self.width // self.head_width


class Embedding(nn.Module):
    """Tokens to vectors."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.weight = weight((vocab_size, width), "embedding")
        self.multiplier = 1.0

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = F.embedding(tokens_BT, self.weight)
        return x_BTD if self.multiplier == 1.0 else x_BTD * self.multiplier


class Linear(nn.Module):
    """A map without bias. A stack of matrices (n, fan_out, fan_in) maps to n * fan_out outputs at once."""

    def __init__(self, shape: tuple[int, ...], role: Role = "hidden", **place: bool | tuple[int, ...]) -> None:
        super().__init__()
        self.weight = weight(shape, role, **place)  # type: ignore[arg-type]
        self.multiplier = 1.0

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight.flatten(0, -2))
        return y if self.multiplier == 1.0 else y * self.multiplier


class Attention(nn.Module):
    """Multi-head self-attention; query, key and value are one stack of three matrices."""

    def __init__(self, a: BlockArchitecture, scale: float) -> None:
        super().__init__()
        D = a.width
        members = (0,) if a.zero_query else ()
        self.num_heads, self.qk_norm, self.causal, self.scale = a.num_heads, a.qk_norm, a.causal, scale
        self.qkv = Linear((3, D, D), residual=True, zero_members=members)
        self.out = Linear((D, D), residual=True, zero_init=a.zero_residual)

    def forward(self, x_BTD: Tensor, rotary_TGI2: Tensor | None = None) -> Tensor:
        """Positions turn queries and keys where a rotary table is given; without one the input knows them."""
        qkv_BTC = self.qkv(x_BTD)
        # In float32 whatever the products are in: angles and norms are cheap, their errors are not.
        q_BHTK, k_BHTK, v_BHTK = heads(qkv_BTC, rotary_TGI2, self.num_heads, self.qk_norm)
        y_BHTK = attention(q_BHTK, k_BHTK, v_BHTK, self.scale, qkv_BTC.dtype, self.causal)
        return self.out(y_BHTK.transpose(1, 2).flatten(2))


class Relu2(nn.Module):
    """down(relu(up x)^2) (2109.08668)."""

    def __init__(self, width: int, hidden: int, zero: bool) -> None:
        super().__init__()
        self.up = Linear((hidden, width), residual=True)
        self.down = Linear((width, hidden), residual=True, zero_init=zero)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(relu2(self.up(x_BTD)))


class SwiGLU(nn.Module):
    """down(silu(gate x) * up x) (2002.05202); gate and up are one stack of two matrices."""

    def __init__(self, width: int, hidden: int, zero: bool) -> None:
        super().__init__()
        self.gate_up = Linear((2, hidden, width), residual=True)
        self.down = Linear((width, hidden), residual=True, zero_init=zero)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTF, up_BTF = self.gate_up(x_BTD).chunk(2, -1)
        return self.down(F.silu(gate_BTF) * up_BTF)


FEED_FORWARDS: dict[str, type[Relu2] | type[SwiGLU]] = {"relu2": Relu2, "swiglu": SwiGLU}

BuildFeedForward = Callable[[BlockArchitecture, int], nn.Module]
"""(architecture, block index) -> module from (B, T, D) to (B, T, D)."""


def dense(a: BlockArchitecture, block: int) -> nn.Module:
    """The feed-forward network that the architecture names, the same in every block."""
    return FEED_FORWARDS[a.feed_forward](a.width, a.feed_forward_width or 4 * a.width, a.zero_residual)


class Block(nn.Module):
    """x + c attention(norm x), then x + c feed_forward(norm x)."""

    def __init__(
        self,
        a: BlockArchitecture,
        norm: Norm,
        feed_forward: nn.Module,
        attention_scale: float,
        residual_scale: float,
    ) -> None:
        super().__init__()
        self.attention_norm = mark_residual(norm.build(a.width, "attention"))
        self.attention = Attention(a, attention_scale)
        self.feed_forward_norm = mark_residual(norm.build(a.width, "feed_forward"))
        self.feed_forward = feed_forward
        self.residual_scale = residual_scale

    def forward(self, x_BTD: Tensor, rotary_TGI2: Tensor | None = None) -> Tensor:
        c = self.residual_scale
        # alpha of add: one pass over memory whether the branch is scaled or not.
        x_BTD = torch.add(x_BTD, self.attention(self.attention_norm(x_BTD), rotary_TGI2), alpha=c)
        return torch.add(x_BTD, self.feed_forward(self.feed_forward_norm(x_BTD)), alpha=c)


def build_blocks(
    a: BlockArchitecture,
    norm: Norm,
    parametrization: Parametrization,
    *,
    base_head_width: int | None = None,
    base_depth: int | None = None,
    feed_forward: BuildFeedForward = dense,
) -> nn.ModuleList:
    """The architecture's blocks, scaled as the parametrization says; base shapes left out are the own ones."""
    attention_scale = parametrization.attention_scale(a.head_width, base_head_width or a.head_width)
    residual_scale = parametrization.residual_scale(a.depth, base_depth or a.depth)
    return nn.ModuleList(
        Block(a, norm, feed_forward(a, i), attention_scale, residual_scale) for i in range(a.depth)
    )


MEMBERS = {"qkv.weight": ("query", "key", "value"), "gate_up.weight": ("gate", "up")}
"""End of a stack's name -> names of the matrices in it."""


def stacks(model: nn.Module) -> Mapping[str, tuple[str, ...]]:
    """Parameter name -> names of the matrices in it, for the stacks whose members have names."""
    return {
        name: MEMBERS[ending]
        for name, _ in model.named_parameters()
        if (ending := ".".join(name.split(".")[-2:])) in MEMBERS
    }

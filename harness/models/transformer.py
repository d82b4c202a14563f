"""A decoder-only transformer: pre-norm, rotary positions, untied readout, no biases.

Shapes: B sequences, T tokens, D width, H heads, K head width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.methods.norm import Norm
from harness.methods.parametrization import Parametrization
from harness.methods.roles import Role
from harness.models.operations import attention, heads, relu2, rotary_table, tables_for
from harness.models.parameters import mark_residual, weight


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes and choices of a transformer."""

    vocab_size: int
    width: int
    depth: int
    """Blocks: each an attention and a feed-forward branch."""
    head_width: int
    context: int
    """Longest sequence."""
    feed_forward: str = "relu2"
    """relu2: down(relu(up x)^2). swiglu: down(silu(gate x) * up x)."""
    feed_forward_width: int = 0
    """0: four times the width."""
    qk_norm: bool = True
    """Queries and keys are divided by their RMS, head by head."""
    rope_base: float = 10_000.0
    zero_readout: bool = False
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
    """Causal multi-head self-attention; query, key and value are one stack of three matrices."""

    def __init__(self, a: Architecture, scale: float) -> None:
        super().__init__()
        D = a.width
        members = (0,) if a.zero_query else ()
        self.num_heads, self.qk_norm, self.scale = a.num_heads, a.qk_norm, scale
        self.qkv = Linear((3, D, D), residual=True, zero_members=members)
        self.out = Linear((D, D), residual=True, zero_init=a.zero_residual)

    def forward(self, x_BTD: Tensor, rotary_TGI2: Tensor) -> Tensor:
        qkv_BTC = self.qkv(x_BTD)
        # In float32 whatever the products are in: angles and norms are cheap, their errors are not.
        q_BHTK, k_BHTK, v_BHTK = heads(qkv_BTC, rotary_TGI2, self.num_heads, self.qk_norm)
        y_BHTK = attention(q_BHTK, k_BHTK, v_BHTK, self.scale, qkv_BTC.dtype)
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

BuildFeedForward = Callable[[Architecture, int], nn.Module]
"""(architecture, block index) -> module from (B, T, D) to (B, T, D)."""


def dense(a: Architecture, block: int) -> nn.Module:
    """The feed-forward network that the architecture names, the same in every block."""
    return FEED_FORWARDS[a.feed_forward](a.width, a.feed_forward_width or 4 * a.width, a.zero_residual)


class Block(nn.Module):
    """x + c attention(norm x), then x + c feed_forward(norm x)."""

    def __init__(
        self, a: Architecture, norm: Norm, feed_forward: nn.Module, attention_scale: float, residual_scale: float
    ) -> None:
        super().__init__()
        self.attention_norm = mark_residual(norm.build(a.width, "attention"))
        self.attention = Attention(a, attention_scale)
        self.feed_forward_norm = mark_residual(norm.build(a.width, "feed_forward"))
        self.feed_forward = feed_forward
        self.residual_scale = residual_scale

    def forward(self, x_BTD: Tensor, rotary_TGI2: Tensor) -> Tensor:
        c = self.residual_scale
        # alpha of add: one pass over memory whether the branch is scaled or not.
        x_BTD = torch.add(x_BTD, self.attention(self.attention_norm(x_BTD), rotary_TGI2), alpha=c)
        return torch.add(x_BTD, self.feed_forward(self.feed_forward_norm(x_BTD)), alpha=c)


class Transformer(nn.Module):
    """Logits of the next token at every position.

    ``norm`` and ``parametrization`` are methods; ``feed_forward`` builds each block's feed-forward module, so
    that a mixture of experts can stand there.
    """

    def __init__(
        self,
        a: Architecture,
        norm: Norm,
        parametrization: Parametrization,
        *,
        base_head_width: int | None = None,
        base_depth: int | None = None,
        feed_forward: BuildFeedForward = dense,
    ) -> None:
        super().__init__()
        self.architecture = a
        attention_scale = parametrization.attention_scale(a.head_width, base_head_width or a.head_width)
        residual_scale = parametrization.residual_scale(a.depth, base_depth or a.depth)
        self.embedding = Embedding(a.vocab_size, a.width)
        scale = norm.embedding_scale(a.width)
        self.embedding_scale = None if scale is None else nn.Parameter(torch.tensor(float(scale)))
        self.rotary: Tensor
        self.register_buffer("rotary", rotary_table(a.context, a.head_width, a.rope_base), persistent=False)
        self.blocks = nn.ModuleList(
            Block(a, norm, feed_forward(a, i), attention_scale, residual_scale) for i in range(a.depth)
        )
        self.final_norm = norm.build(a.width, "final")
        self.readout = Linear((a.vocab_size, a.width), "readout", zero_init=a.zero_readout)

    @property
    def stacks(self) -> Mapping[str, tuple[str, ...]]:
        """Parameter name -> names of the matrices in it."""
        members = {"qkv.weight": ("query", "key", "value"), "gate_up.weight": ("gate", "up")}
        return {
            name: members[ending]
            for name, _ in self.named_parameters()
            if (ending := ".".join(name.split(".")[-2:])) in members
        }

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embedding(tokens_BT)
        if self.embedding_scale is not None:
            x_BTD = x_BTD * self.embedding_scale
        rotary_TGI2 = tables_for(self.rotary[: tokens_BT.shape[1]], self.architecture.num_heads)
        for block in self.blocks:
            x_BTD = block(x_BTD, rotary_TGI2)
        return self.readout(self.final_norm(x_BTD))


def next_token_loss(logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean cross-entropy in nats a token, in float32 whatever the logits are."""
    return F.cross_entropy(logits_BTV.flatten(0, -2).float(), targets_BT.flatten())


def trivial_loss(vocab_size: int) -> float:
    """ln V: the loss of the uniform distribution."""
    return math.log(vocab_size)

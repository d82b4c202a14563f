"""A decoder-only transformer: pre-norm, rotary positions, untied readout, no biases.

Shapes: B sequences, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.methods.norm import Norm
from harness.methods.parametrization import Parametrization
from harness.models import blocks
from harness.models.blocks import BlockArchitecture, BuildFeedForward, Embedding, Linear, build_blocks, dense
from harness.models.operations import rotary_table, tables_for


@dataclass(frozen=True, kw_only=True)
class Architecture(BlockArchitecture):
    """Sizes and choices of a transformer."""

    vocab_size: int
    context: int
    """Longest sequence."""
    rope_base: float = 10_000.0
    zero_readout: bool = False
    embedding_scalar: bool | None = None
    """Whether a trained scalar, sqrt(width) at the start, follows the embedding; None: as the norm wants."""


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
        self.embedding = Embedding(a.vocab_size, a.width)
        scale = norm.embedding_scale(a.width)
        if a.embedding_scalar is not None:
            scale = math.sqrt(a.width) if a.embedding_scalar else None
        self.embedding_scale = None if scale is None else nn.Parameter(torch.tensor(float(scale)))
        self.rotary: Tensor
        self.register_buffer("rotary", rotary_table(a.context, a.head_width, a.rope_base), persistent=False)
        self.blocks = build_blocks(
            a, norm, parametrization, base_head_width=base_head_width, base_depth=base_depth,
            feed_forward=feed_forward,
        )
        self.final_norm = norm.build(a.width, "final")
        self.readout = Linear((a.vocab_size, a.width), "readout", zero_init=a.zero_readout)

    @property
    def stacks(self) -> Mapping[str, tuple[str, ...]]:
        """Parameter name -> names of the matrices in it."""
        return blocks.stacks(self)

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


def next_token_losses(logits_BTV: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
    """``next_token_loss``, to the bit, and each token's loss, (B, T)."""
    # What cross_entropy does, in its two steps, so that the first is done once.
    log_share = F.log_softmax(logits_BTV.flatten(0, -2).float(), 1)
    targets = targets_BT.flatten()
    each = F.nll_loss(log_share, targets, reduction="none")
    return F.nll_loss(log_share, targets), each.view(targets_BT.shape)


def trivial_loss(vocab_size: int) -> float:
    """ln V: the loss of the uniform distribution."""
    return math.log(vocab_size)

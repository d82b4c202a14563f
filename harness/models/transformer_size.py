"""FLOPs by formula. A product of (m, k) and (k, n) counts 2 m k n; element-wise work is not counted.

Training costs three times the forward pass (2203.15556, App. F: backward twice forward). Attention scores are
counted in full, not halved by causality, as PaLM's MFU does (2204.02311, App. B). No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.methods.roles import Role

Shapes = Sequence[tuple[Role, tuple[int, ...]]]
FEED_FORWARD_MATRICES = {"relu2": 2, "swiglu": 3}
"""Matrices of (feed-forward width, width) in a feed-forward module."""


@dataclass(frozen=True, kw_only=True)
class TransformerSize:
    """What the FLOPs of a dense decoder-only transformer depend on."""

    vocab_size: int
    width: int
    depth: int
    feed_forward_width: int
    feed_forward: str = "relu2"

    @property
    def matrix_parameters(self) -> int:
        """Parameters of the blocks' matrices: what is called non-embedding parameters here."""
        feed_forward = FEED_FORWARD_MATRICES[self.feed_forward] * self.feed_forward_width * self.width
        return self.depth * (4 * self.width**2 + feed_forward)

    def shapes(self) -> list[tuple[Role, tuple[int, ...]]]:
        """(role, shape) of every matrix; vectors, whose number depends on the norm, are left out."""
        d, f = self.width, self.feed_forward_width
        up = (2, f, d) if self.feed_forward == "swiglu" else (f, d)
        block: list[tuple[Role, tuple[int, ...]]] = [
            ("hidden", (3, d, d)), ("hidden", (d, d)), ("hidden", up), ("hidden", (d, f)),
        ]
        return [
            ("embedding", (self.vocab_size, d)), *(block * self.depth), ("readout", (self.vocab_size, d)),
        ]

    def forward_flops(self, context: int) -> dict[str, float]:
        """FLOPs a token of a forward pass over ``context`` tokens, by part: blocks, attention, readout."""
        return {
            "blocks": 2.0 * self.matrix_parameters,
            "attention": 4.0 * context * self.width * self.depth,
            "readout": 2.0 * self.vocab_size * self.width,
        }


def training_flops(size: TransformerSize, context: int, tokens: int) -> float:
    """FLOPs of forward and backward passes over this many training tokens; the optimizer is not in it."""
    return 3.0 * sum(size.forward_flops(context).values()) * tokens

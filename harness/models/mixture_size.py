"""FLOPs and parameters of a decoder-only transformer with mixtures of experts, by formula. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.methods.roles import Role
from harness.models.transformer_size import FEED_FORWARD_MATRICES


@dataclass(frozen=True, kw_only=True)
class MixtureSize:
    """What the FLOPs of a transformer with a mixture in every block depend on."""

    vocab_size: int
    width: int
    depth: int
    num_experts: int
    expert_width: int
    shared: int = 0
    """Experts that run on every token."""
    feed_forward: str = "relu2"

    @property
    def _expert(self) -> int:
        """Parameters of one expert."""
        return FEED_FORWARD_MATRICES[self.feed_forward] * self.expert_width * self.width

    @property
    def _common(self) -> int:
        """Parameters of a block that every token meets: attention, router, shared experts."""
        return 4 * self.width**2 + self.num_experts * self.width + self.shared * self._expert

    def active_parameters(self, active: float) -> float:
        """Parameters of the blocks' matrices that a token meets at this number of experts."""
        return self.depth * (self._common + active * self._expert)

    @property
    def matrix_parameters(self) -> int:
        """Parameters of the blocks' matrices, all experts."""
        return self.depth * (self._common + self.num_experts * self._expert)

    def shapes(self) -> Sequence[tuple[Role, tuple[int, ...]]]:
        """(role, shape) of every matrix: what the optimizer's FLOPs depend on, all experts."""
        D, E, H = self.width, self.num_experts, self.expert_width
        matrices = FEED_FORWARD_MATRICES[self.feed_forward]
        inner: list[tuple[Role, tuple[int, ...]]] = [("hidden", (E, H, D))] * (matrices - 1)
        block: list[tuple[Role, tuple[int, ...]]] = [
            ("hidden", (3, D, D)), ("hidden", (D, D)), ("readout", (E, D)), *inner, ("hidden", (E, D, H)),
        ]  # fmt: skip
        if self.shared:
            S = self.shared * H
            block += [("hidden", (2, S, D) if matrices == 3 else (S, D)), ("hidden", (D, S))]
        return [("embedding", (self.vocab_size, D)), *(block * self.depth), ("readout", (self.vocab_size, D))]

    def training_flops(self, context: int, tokens: float, active: float) -> float:
        """FLOPs of forward and backward passes (three forward passes) at this mean number of experts a token."""
        a_token = 2.0 * self.active_parameters(active) + 4.0 * context * self.width * self.depth
        return 3.0 * (a_token + 2.0 * self.vocab_size * self.width) * tokens

"""SGD with momentum: the plainest baseline.

    g <- g + weight_decay p,   m <- momentum m + g,   p <- p - lr m   (Nesterov: p <- p - lr (g + momentum m))

Weight decay is coupled here (an L2 penalty), as in torch.optim.SGD, which does the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from baselines.optimizers._groups import (
    NonNegative,
    Positive,
    SearchSpace,
    Share,
    count,
    fused_available,
    scaled_group,
)
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Family, Role
from harness.registry import register

FLOPS_PER_PARAMETER = 6
"""Weight decay 2, momentum 2, update 2."""


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with (heavy-ball or Nesterov) momentum. Needs: lr."""

    lr: Positive
    """Peak learning rate (weight over gradient)."""
    momentum: Share = 0.9
    """Share of the momentum buffer kept a step; it sums, so the effective LR is lr / (1 - momentum)."""
    nesterov: bool = False
    """Whether the update looks one momentum step ahead; needs momentum > 0."""
    weight_decay: NonNegative = 0.0
    """Coupled weight decay: weight_decay * p is added to the gradient."""
    decay_vectors: bool = False
    """Whether gains, biases and scalars decay too."""

    search_space: ClassVar[SearchSpace] = {"lr": (2**-6, 2**1, "log2")}

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov needs momentum > 0, got momentum 0.0; set nesterov to false")

    def family(self, role: Role) -> Family:
        """SGD trains every role."""
        return "sgd"

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """torch.optim.SGD, one torch group for each of ``groups``; scaling.eps has no meaning here."""
        return torch.optim.SGD(
            [
                scaled_group(
                    group, lr=self.lr, weight_decay=self.weight_decay, decay_vectors=self.decay_vectors
                )
                for group in groups
            ],
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            fused=fused_available(p for group in groups for p in group.parameters),
        )

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """6 element-wise FLOPs a parameter."""
        return float(FLOPS_PER_PARAMETER * count(shape for _, shape in shapes))

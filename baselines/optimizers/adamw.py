"""AdamW (1711.05101): Adam with decoupled weight decay, on every parameter.

    m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2
    p <- (1 - lr weight_decay) p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

The step itself is torch.optim.AdamW's, fused where torch has a fused kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from baselines.optimizers._groups import (
    ADAM_FLOPS_PER_PARAMETER,
    NonNegative,
    Positive,
    SearchSpace,
    Share,
    adam_group,
    count,
    fused_available,
)
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Family, Role
from harness.registry import register


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class AdamW:
    """AdamW with the betas that language models use. Needs: lr."""

    lr: Positive
    """Peak learning rate, about the RMS change of a weight a step over 0.2 to 0.4."""
    weight_decay: NonNegative = 0.1
    """Decoupled weight decay; a step multiplies weights by 1 - lr * weight_decay."""
    beta1: Share = 0.9
    """Decay of the first moment, a step."""
    beta2: Share = 0.95
    """Decay of the second moment, a step."""
    eps: Positive = 1e-8
    """Added to the root of the second moment (units of the gradient)."""
    decay_vectors: bool = False
    """Whether gains, biases and scalars decay too."""

    search_space: ClassVar[SearchSpace] = {"lr": (2**-10, 2**-5, "log2")}

    def family(self, role: Role) -> Family:
        """Adam trains every role."""
        return "adam"

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """torch.optim.AdamW, one torch group for each of ``groups``, with their multipliers."""
        return torch.optim.AdamW(
            [
                adam_group(
                    group,
                    lr=self.lr,
                    weight_decay=self.weight_decay,
                    decay_vectors=self.decay_vectors,
                    betas=(self.beta1, self.beta2),
                    eps=self.eps,
                )
                for group in groups
            ],
            fused=fused_available(p for group in groups for p in group.parameters),
        )

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """14 element-wise FLOPs a parameter (see ADAM_FLOPS_PER_PARAMETER)."""
        return float(ADAM_FLOPS_PER_PARAMETER * count(shape for _, shape in shapes))

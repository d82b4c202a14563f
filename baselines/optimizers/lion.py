"""Lion (2302.06675): the sign of a momentum, so that every weight moves by the learning rate at each step.

    u <- sign(beta1 m + (1 - beta1) g)
    p <- (1 - lr weight_decay) p - lr u
    m <- beta2 m + (1 - beta2) g

Source: Algorithm 2. The update's RMS is 1 where Adam's is 0.2 to 0.4; so the paper takes a learning rate 3 to 10
times below AdamW's and a weight decay as much above, which leaves their product. The defaults here are AdamW's
with 8 between. For language models the paper also trains with betas (0.95, 0.98).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from baselines.optimizers._batched import BatchedOptimizer, gradients_of, moving
from baselines.optimizers._groups import NonNegative, Positive, SearchSpace, Share, count, scaled_group
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Family, Role
from harness.registry import register

FLOPS_PER_PARAMETER = 10
"""The update's mean 3, sign 1, decay 1, update 2, momentum 3."""


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class Lion:
    """Sign of the momentum, on every parameter. Needs: lr."""

    lr: Positive
    """Peak learning rate: how far each weight moves in a step."""
    weight_decay: NonNegative = 0.8
    """Decoupled weight decay; a step multiplies weights by 1 - lr * weight_decay."""
    beta1: Share = 0.9
    """Share of the momentum in the update, the rest is the present gradient."""
    beta2: Share = 0.99
    """Decay of the momentum, a step."""
    decay_vectors: bool = False
    """Whether gains, biases and scalars decay too."""

    search_space: ClassVar[SearchSpace] = {"lr": (2**-13, 2**-8, "log2")}

    def family(self, role: Role) -> Family:
        """Adam's: each element moves by about the learning rate, whatever the gradient's size."""
        return "adam"

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """One torch group for each of ``groups``, with their multipliers; scaling.eps has no meaning here."""
        return SignOfMomentum(
            scaled_group(
                group,
                lr=self.lr,
                weight_decay=self.weight_decay,
                decay_vectors=self.decay_vectors,
                betas=(self.beta1, self.beta2),
            )
            for group in groups
        )

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """10 element-wise FLOPs a parameter (see FLOPS_PER_PARAMETER)."""
        return float(FLOPS_PER_PARAMETER * count(shape for _, shape in shapes))


class SignOfMomentum(BatchedOptimizer):
    """Lion's step, a group at a time."""

    def advance(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            if not (parameters := moving(group)):
                continue
            for p in parameters:
                if not self.state[p]:
                    self.state[p]["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            gradients = gradients_of(parameters)
            means = [self.state[p]["exp_avg"] for p in parameters]
            beta1, beta2 = group["betas"]
            updates = torch._foreach_lerp(gradients, means, beta1)
            torch._foreach_sign_(updates)
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])
            torch._foreach_lerp_(means, gradients, 1 - beta2)

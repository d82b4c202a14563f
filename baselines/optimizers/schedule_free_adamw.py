"""Schedule-Free AdamW (2405.15682): an average of the iterates in place of a falling learning rate.

    y = (1 - beta1) z + beta1 x                               (where the gradient g is taken)
    v <- beta2 v + (1 - beta2) g^2
    z <- z - lr g / (sqrt(v / (1 - beta2^t)) + eps) - lr weight_decay y
    x <- (1 - c) x + c z,   c = l_t^2 / (l_1^2 + ... + l_t^2),   l_t the largest lr so far

Source: Algorithm 1, with l_t as in the authors' code (equal to lr through warm-up and a constant rate). Parameters
hold y in training and x in evaluation; beside v only z is kept, and y moves by

    y <- (1 - c) y + c z - lr (1 - beta1 (1 - c)) u,   u = g / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay y
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from baselines.optimizers._batched import BatchedOptimizer, alike, gradients_of, moving
from baselines.optimizers._groups import NonNegative, Positive, SearchSpace, Share, count, scaled_group
from harness.errors import HarnessError
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Family, Role
from harness.registry import register

FLOPS_PER_PARAMETER = 17
"""Second moment 4, bias correction 1, root 1, eps 1, division 1, decay 2, y's mean 3, steps of y and z 2 each."""


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class ScheduleFreeAdamW:
    """AdamW without a schedule: trained at a mean of iterate and average, evaluated at the average. Needs: lr."""

    lr: Positive
    """Peak learning rate. The authors' advice is 1 to 10 times that of AdamW with a schedule."""
    weight_decay: NonNegative = 0.1
    """Decoupled weight decay, of y; a step takes lr * weight_decay * y from z."""
    beta1: Annotated[float, Gt(0), Lt(1)] = 0.9
    """Share of the average x in y, where gradients are taken; stands in for momentum."""
    beta2: Share = 0.95
    """Decay of the second moment, a step."""
    eps: Positive = 1e-8
    """Added to the root of the second moment (units of the gradient)."""
    keeps_peak: bool = True
    """Whether the rate stays at its largest so far when the schedule falls, as is the method's own regime; false:
    it follows the schedule."""
    decay_vectors: bool = False
    """Whether gains, biases and scalars decay too."""

    search_space: ClassVar[SearchSpace] = {"lr": (2**-9, 2**-4, "log2")}

    def family(self, role: Role) -> Family:
        """Adam's, of every role."""
        return "adam"

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """One torch group for each of ``groups``, with their multipliers; it has train() and eval()."""
        return AveragedAdam(
            scaled_group(
                group,
                lr=self.lr,
                weight_decay=self.weight_decay,
                decay_vectors=self.decay_vectors,
                betas=(self.beta1, self.beta2),
                eps=self.eps * group.scaling.eps,
                keeps_peak=self.keeps_peak,
            )
            for group in groups
        )

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """17 element-wise FLOPs a parameter (see FLOPS_PER_PARAMETER)."""
        return float(FLOPS_PER_PARAMETER * count(shape for _, shape in shapes))


class AveragedAdam(BatchedOptimizer):
    """Schedule-Free AdamW: parameters hold y in training, and x between ``eval()`` and ``train()``."""

    training = True

    @torch.no_grad()
    def eval(self) -> None:
        """Put the average x into the parameters."""
        if self.training:
            self._move(lambda beta1: 1 - 1 / beta1)
        self.training = False

    @torch.no_grad()
    def train(self) -> None:
        """Put y, where gradients are taken, into the parameters (up to rounding what it was before ``eval``)."""
        if not self.training:
            self._move(lambda beta1: 1 - beta1)
        self.training = True

    def _move(self, share_of_z: Callable[[float], float]) -> None:
        for group in self.param_groups:
            started = [p for p in group["params"] if self.state.get(p)]
            if started:
                torch._foreach_lerp_(started, [self.state[p]["z"] for p in started], share_of_z(group["betas"][0]))

    def advance(self) -> None:
        """Update every parameter that has a gradient; HarnessError between ``eval()`` and ``train()``."""
        if not self.training:
            raise HarnessError("schedule_free_adamw: step() in evaluation mode; call train() before it")
        for group in self.param_groups:
            parameters = moving(group)
            for p in parameters:
                if not self.state[p]:
                    self.state[p].update(step=0, lr_max=0.0, weight_sum=0.0)
                    self.state[p].update(z=p.detach().clone(), exp_avg_sq=torch.zeros_like(p))
            for equal in alike(parameters, self._clock):
                self._update(equal, group)

    def _clock(self, p: Tensor) -> tuple[Any, ...]:
        """What the step's numbers come from; equal for parameters that always had gradients together."""
        return tuple(self.state[p][key] for key in ("step", "lr_max", "weight_sum"))

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        state = self.state[parameters[0]]
        beta1, beta2 = group["betas"]
        step = state["step"] + 1
        lr_max = max(state["lr_max"], group["lr"])
        weight_sum = state["weight_sum"] + lr_max**2
        # Before the first step at a rate above zero there is nothing to average.
        c = lr_max**2 / weight_sum if weight_sum else 0.0
        lr = lr_max if group["keeps_peak"] else group["lr"]
        for p in parameters:
            self.state[p].update(step=step, lr_max=lr_max, weight_sum=weight_sum)

        gradients = gradients_of(parameters)
        squares = [self.state[p]["exp_avg_sq"] for p in parameters]
        z = [self.state[p]["z"] for p in parameters]
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        roots = torch._foreach_div(squares, 1 - beta2**step)
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        updates = torch._foreach_div(gradients, roots)
        torch._foreach_add_(updates, parameters, alpha=group["weight_decay"])
        torch._foreach_lerp_(parameters, z, c)
        torch._foreach_add_(parameters, updates, alpha=-lr * (1 - beta1 * (1 - c)))
        torch._foreach_sub_(z, updates, alpha=lr)

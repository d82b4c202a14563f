"""Adafactor (1804.04235): Adam whose second moment of a matrix is the product of a row's and a column's means.

    b = min(beta2_cap, 1 - t^-decay_power)
    R <- b R + (1 - b) mean over columns of (g^2 + eps),   C <- b C + (1 - b) mean over rows of (g^2 + eps)
    u <- g / sqrt(R C^T / mean(R)),   u <- u / max(1, RMS(u) / clip),   m <- beta1 m + (1 - beta1) u
    p <- (1 - lr weight_decay) p - lr s m,   s = max(eps_scale, RMS(p)) if relative, else 1

Source: Algorithms 4 and 5. Vectors keep a whole second moment. The defaults are the form that trains present models
(2106.04560: momentum, a capped decay, rates that are not relative), with the first paper's clipping; 2407.07972
compares it with Adam. The first paper's is ``relative: true, beta1: 0, beta2_cap: 1, weight_decay: 0``; its rate
min(0.01, 1 / sqrt(t)) is a matter of the schedule. No bias is corrected: b is 0 at first, and m starts slowly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from baselines.optimizers._batched import (
    BatchedOptimizer,
    alike,
    gather,
    gradients_of,
    moving,
    pieces,
    scatter_,
    stacks,
)
from baselines.optimizers._groups import NonNegative, Positive, SearchSpace, Share, scaled_group
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Family, Role
from harness.registry import register

MATRIX_FLOPS = 12
"""A parameter: square and eps 2, two means 2, products with two roots 2, RMS 2, clipping 1, decay 1, update 2."""
VECTOR_FLOPS = 13
"""A parameter: square and eps 2, running mean 3, root 1, product 1, RMS 2, clipping 1, decay 1, update 2."""
MOMENTUM_FLOPS = 3
RELATIVE_FLOPS = 3
"""RMS of the weights 2, product 1."""


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class Adafactor:
    """Adam with a factored second moment and clipped updates, on every parameter. Needs: lr."""

    lr: Positive
    """Peak learning rate; if relative, a share of the RMS of each matrix."""
    weight_decay: NonNegative = 0.1
    """Decoupled weight decay; a step multiplies weights by 1 - lr * weight_decay."""
    beta1: Share = 0.9
    """Decay of the mean of updates, a step; 0 keeps none, and no memory of a weight's size."""
    decay_power: Annotated[float, Gt(0), Le(1)] = 0.8
    """Power p in the second moment's decay 1 - t^-p."""
    beta2_cap: Annotated[float, Ge(0), Le(1)] = 0.999
    """Largest decay of the second moment, a step."""
    clip: Positive = 1.0
    """Largest RMS of an update, before momentum and rate, of each matrix."""
    relative: bool = False
    """Whether the rate is multiplied by the RMS of the weights. The RMS knows the width already: with it use the
    parametrization standard."""
    eps: Positive = 1e-30
    """Added to squared gradients (their units)."""
    eps_scale: Positive = 1e-3
    """Least RMS that a relative rate is multiplied by."""
    decay_vectors: bool = False
    """Whether gains, biases and scalars decay too."""

    search_space: ClassVar[SearchSpace] = {"lr": (2**-10, 2**-5, "log2")}

    def family(self, role: Role) -> Family:
        """Adam's, of every role."""
        return "adam"

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """One torch group for each of ``groups``, with their multipliers; scaling.eps is of no use to a share."""
        own = ("beta1", "decay_power", "beta2_cap", "clip", "relative", "eps", "eps_scale")
        return FactoredAdam(
            scaled_group(
                group,
                lr=self.lr,
                weight_decay=self.weight_decay,
                decay_vectors=self.decay_vectors,
                **{key: getattr(self, key) for key in own},
            )
            for group in groups
        )

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """12 FLOPs a parameter of a matrix, 13 of a vector, 3 more with momentum and 3 more if relative.

        What is done once a row or a column is left out.
        """
        more = MOMENTUM_FLOPS * (self.beta1 > 0) + RELATIVE_FLOPS * self.relative
        return float(
            sum(
                math.prod(shape) * (more + (MATRIX_FLOPS if len(shape) > 1 else VECTOR_FLOPS))
                for _, shape in shapes
            )
        )


class FactoredAdam(BatchedOptimizer):
    """Adafactor's step, equal matrices and vectors of a group at a time."""

    def advance(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for equal in alike(moving(group), lambda p: self.state[p].get("steps", 0)):
                for parameters in stacks(equal):
                    self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        t = self.state[parameters[0]].get("steps", 0) + 1
        for p in parameters:
            self.state[p]["steps"] = t
        decay = min(group["beta2_cap"], 1 - t ** -group["decay_power"])
        G = gather(gradients_of(parameters))
        squares = G.square().add_(group["eps"])
        if G.ndim == 3:
            R = self._mean("row_mean_sq", parameters, squares.mean(-1, keepdim=True), decay)
            C = self._mean("column_mean_sq", parameters, squares.mean(-2, keepdim=True), decay)
            u = G * (R / R.mean(-2, keepdim=True)).rsqrt_() * C.rsqrt()
        else:
            u = G * self._mean("exp_avg_sq", parameters, squares, decay).rsqrt()
        u.div_((rms(u) / group["clip"]).clamp_min_(1))
        if group["beta1"]:
            u = self._mean("exp_avg", parameters, u, group["beta1"])
        if group["relative"]:
            u = u * rms(gather(parameters)).clamp_min_(group["eps_scale"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, pieces(u, parameters), alpha=-group["lr"])

    def _mean(self, key: str, parameters: list[Tensor], new: Tensor, decay: float) -> Tensor:
        """The running means under ``key`` after ``new``, as one stack; they begin at zero."""
        for p in parameters:
            if key not in self.state[p]:
                # A row's or a column's means have length 1 along the other side.
                self.state[p][key] = p.new_zeros(*p.shape[: 1 - new.ndim], *new.shape[1:])
        held = [self.state[p][key] for p in parameters]
        mean = gather(held).lerp_(new, 1 - decay)
        scatter_(mean, held)
        return mean


def rms(stack: Tensor) -> Tensor:
    """Root mean square of each matrix or vector of a stack, with lengths 1 along its sides."""
    return stack.square().mean(tuple(range(1, stack.ndim)), keepdim=True).sqrt_()

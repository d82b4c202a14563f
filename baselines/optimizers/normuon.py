"""NorMuon (2510.05491): Muon whose update has rows (neurons) of equal size over time; AdamW for everything else.

    m <- momentum m + (1 - momentum) g
    O <- orthogonalize(momentum m + (1 - momentum) g)   (Nesterov; O of m without)
    v <- beta2 v + (1 - beta2) mean over columns of O^2   (a number a row)
    U <- O / (sqrt(v) + eps)
    W <- (1 - lr weight_decay) W - lr size U / ||U||_F

Scale rms has size 0.2 sqrt(fan_out fan_in), the paper's Algorithm 1 (which has no Nesterov step): every update
has RMS 0.2 lr, like AdamW's. Scale keller has size sqrt(max(1, fan_out / fan_in)) ||O||_F, as in the authors'
code. Only v's relative sizes matter, so it needs no bias correction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from baselines.optimizers._batched import (
    BatchedOptimizer,
    gather,
    gradients_of,
    moving,
    pieces,
    scatter_,
    stacks,
)
from baselines.optimizers._groups import (
    ADAM_FLOPS_PER_PARAMETER,
    MUON_FLOPS_PER_PARAMETER,
    NonNegative,
    NumSteps,
    Positive,
    Share,
    WithAdamPart,
    adam_part,
    adam_step,
    muon_group,
    stack_shape,
)
from baselines.optimizers._newton_schulz import (
    COEFFICIENTS,
    Precision,
    Scratch,
    newton_schulz_flops,
    orthogonalize_,
)
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Role
from harness.registry import register

RMS = 0.2
"""Root mean square of an update over lr, under scale rms: about AdamW's (2502.16982)."""
FLOPS_PER_PARAMETER = 6
"""Beside Muon's: row means of squares 2, division by their roots 1, norm 2, scaling 1."""


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class NorMuon(WithAdamPart):
    """Muon with a second moment a row on hidden matrices, AdamW on the rest. Needs: lr."""

    lr: Positive
    """Peak learning rate of hidden matrices; with scale rms an update has RMS 0.2 lr, like AdamW's."""
    weight_decay: NonNegative = 0.1
    """Decoupled; a step multiplies weights by 1 - lr * weight_decay (lr before the scale)."""
    momentum: Share = 0.95
    """Decay of the running mean of gradients, a step."""
    beta2: Share = 0.95
    """Decay of the mean square of each row of the orthogonalised update, a step."""
    nesterov: bool = True
    """Whether the update is the mean looked at one gradient ahead."""
    scale: Literal["rms", "keller"] = "rms"
    """Size of the update: rms 0.2 a weight; keller sqrt(max(1, out/in)) times what orthogonalisation gave."""
    coefficients: Literal["keller", "polar_express", "exact"] = "keller"
    """Newton-Schulz coefficient set."""
    ns_steps: NumSteps | None = None
    """Newton-Schulz steps; null: as many as the set has (keller 5). Only keller and exact take others."""
    precision: Precision = "bfloat16"
    """Number format inside Newton-Schulz. float32 is slower where bfloat16 products are native."""
    eps: Positive = 1e-10
    """Added to the root of a row's mean square (which is near 1 / sqrt(columns))."""
    def __post_init__(self) -> None:
        try:
            COEFFICIENTS[self.coefficients].schedule(self.ns_steps)
        except ValueError as error:
            message = f"NorMuon: coefficients {self.coefficients!r}: {error}; leave ns_steps out"
            raise ValueError(message) from None

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """One torch group for each of ``groups``, with their multipliers.

        Raises HarnessError for a hidden parameter that is neither a matrix nor a stack of matrices.
        """
        own = {k: getattr(self, k) for k in ("beta2", "scale", "coefficients", "ns_steps", "precision", "eps")}
        return RowNormalizedMuon(
            muon_group(self, group, **own) if self.family(group.role) == "muon" else adam_part(self, group)
            for group in groups
        )

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """Newton-Schulz's products and 18 element-wise FLOPs a parameter for hidden matrices, 14 for Adam's.

        Scale keller takes 2 more a parameter, for the norm before; what is done once a row is left out.
        """
        own = MUON_FLOPS_PER_PARAMETER + FLOPS_PER_PARAMETER + 2 * (self.scale == "keller")
        schedule = COEFFICIENTS[self.coefficients].schedule(self.ns_steps)
        total = 0.0
        for role, shape in shapes:
            if self.family(role) == "adam":
                total += ADAM_FLOPS_PER_PARAMETER * math.prod(shape)
                continue
            matrices, rows, columns = stack_shape(shape)
            total += matrices * newton_schulz_flops(rows, columns, schedule, self.precision)
            total += own * math.prod(shape)
        return total


class RowNormalizedMuon(BatchedOptimizer):
    """NorMuon for groups with family "muon", AdamW for those with family "adam"."""

    def advance(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            if group["family"] == "adam":
                adam_step(self.state, group)
                continue
            for parameters in stacks(moving(group)):
                self._update(parameters, group)

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                self.state[p]["row_mean_sq"] = torch.zeros_like(p[..., :1])
        gradients = gradients_of(parameters)
        buffers = [self.state[p]["momentum_buffer"] for p in parameters]
        row_states = [self.state[p]["row_mean_sq"] for p in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, buffers, group["momentum"]) if group["nesterov"] else buffers
        O = gather(ahead)
        dtype = O.dtype
        O = O.to(torch.promote_types(dtype, torch.float32))
        if "_scratch" not in self.__dict__:
            self._scratch = Scratch()
        chosen = COEFFICIENTS[group["coefficients"]]
        orthogonalize_(O, chosen, self._scratch, steps=group["ns_steps"], precision=group["precision"])

        rows, columns = O.shape[-2:]
        size: float | Tensor = RMS * math.sqrt(rows * columns)
        if group["scale"] == "keller":
            size = math.sqrt(max(1.0, rows / columns)) * norms(O)
        v = gather(row_states)
        v.lerp_(O.square().mean(-1, keepdim=True).to(dtype), 1 - group["beta2"])
        scatter_(v, row_states)
        O.div_(v.sqrt().add_(group["eps"]))
        # A matrix whose momentum is zero stays where it is.
        O.mul_(-group["lr"] * size / norms(O).clamp_min_(torch.finfo(O.dtype).tiny))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, pieces(O.to(dtype), parameters))


def norms(stack: Tensor) -> Tensor:
    """Frobenius norm of each matrix of (number, rows, columns), as (number, 1, 1)."""
    return torch.linalg.vector_norm(stack, dim=(1, 2), keepdim=True)

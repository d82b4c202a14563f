"""Spectrally normalised Adam: hidden matrices move by lr sqrt(fan_out / fan_in) in spectral norm, each step.

    u <- Adam's direction;   W <- (1 - lr weight_decay) W - lr sqrt(fan_out / fan_in) u / ||u||_2

The normalised-update form of the spectral condition (2310.17813; kexue.fm 10795), which holds whatever the
update's rank is. ||u||_2 comes from power iteration, whose vector is kept from step to step. Embedding, readout
and vectors take AdamW's step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Family, Role
from harness.registry import register

ADAM_FLOPS_PER_PARAMETER = 14


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class NormalizedAdam:
    """Adam's direction over its spectral norm on hidden matrices, AdamW elsewhere. Needs: lr."""

    lr: Annotated[float, Field(gt=0)]
    """Peak spectral norm of a square hidden matrix's update, a step; 1.00 to 1.25 times as much is taken with two
    power steps, whose norm is a lower bound."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Decoupled weight decay; a step multiplies weights by 1 - lr * weight_decay."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the first moment, a step."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the second moment, a step."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the second moment (units of the gradient)."""
    power_steps: Annotated[int, Field(ge=1, le=50)] = 2
    """Power iterations a step, each two products of the matrix with a vector."""
    adam_lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of embedding, readout and vectors; null: lr."""
    decay_vectors: bool = False
    """Whether gains, biases and scalars decay too."""

    search_space: ClassVar[dict[str, tuple[float, float, Literal["log2"]]]] = {"lr": (2**-9, 2**-4, "log2")}

    def family(self, role: Role) -> Family:
        """Hidden matrices have Muon's rule with its spectral scale (the update's norm is set); the rest Adam's."""
        return "muon" if role == "hidden" else "adam"

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """One torch group for each of ``groups``, with its multipliers."""
        out = []
        for group in groups:
            normalised = self.family(group.role) == "muon"
            lr = self.lr if normalised or self.adam_lr is None else self.adam_lr
            decays = self.decay_vectors or group.role != "vector"
            out.append(
                {
                    "params": list(group.parameters),
                    "lr": lr * group.scaling.lr,
                    "weight_decay": self.weight_decay * group.scaling.weight_decay if decays else 0.0,
                    "betas": (self.beta1, self.beta2),
                    "eps": self.eps * group.scaling.eps,
                    "normalised": normalised,
                    "power_steps": self.power_steps,
                    "role": group.role,
                    "names": list(group.names),
                }
            )
        return SpectralStep(out)

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """14 a parameter for Adam; for a hidden one 4 a power step, and 2 for the last product with its vector."""
        return float(
            sum(
                math.prod(shape) * (ADAM_FLOPS_PER_PARAMETER + (4 * self.power_steps + 2) * (role == "hidden"))
                for role, shape in shapes
            )
        )


class SpectralStep(torch.optim.Optimizer):
    """Adam, with the direction of groups marked ``normalised`` divided by its spectral norm."""

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; a parameter without gradient is left alone."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros(())
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                    if group["normalised"]:
                        state["right"] = start_vector(p)
                state["step"] += 1
                t = state["step"].item()
                state["exp_avg"].lerp_(p.grad, 1 - beta1)
                state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                root = (state["exp_avg_sq"] / (1 - beta2**t)).sqrt_().add_(group["eps"])
                u = state["exp_avg"] / (1 - beta1**t) / root
                if group["normalised"]:
                    norm, state["right"] = power_iteration(u, state["right"], group["power_steps"])
                    u.mul_(math.sqrt(p.shape[-2] / p.shape[-1])).div_(norm.clamp_min(1e-30)[..., None, None])
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(u, alpha=group["lr"])
        return loss


def start_vector(p: Tensor) -> Tensor:
    """Unit vectors (..., fan_in), the same for every matrix of that fan-in."""
    v = torch.randn(p.shape[-1], generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return (v / v.norm()).to(p.device, p.dtype).expand(p.shape[:-2] + p.shape[-1:]).contiguous()


def power_iteration(U: Tensor, v: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """(lower bound of ||U||_2, right vector) of (..., m, n) from (..., n); tight once v has settled."""
    for _ in range(steps):
        w = (U @ v[..., None])[..., 0]
        z = (U.mT @ w[..., None])[..., 0]
        size = z.norm(dim=-1, keepdim=True)
        # A zero matrix keeps its vector.
        v = torch.where(size > 0, z / size.clamp_min(1e-30), v)
    return (U @ v[..., None])[..., 0].norm(dim=-1), v

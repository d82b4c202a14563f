"""What the optimizer baselines share: ranges of values, scaled groups, the Adam part, counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.optim.adamw import adamw

from harness.errors import HarnessError
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Family, Role

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]
NumSteps = Annotated[int, Ge(1), Lt(100)]

SearchSpace = dict[str, tuple[float, float, Literal["log2"]]]
"""Field -> (low, high, scale) of the default tuning range."""

ADAM_FLOPS_PER_PARAMETER = 14
"""AdamW: decay 1, first moment 3, second moment 4, root, bias correction, eps 3, division, LR, update 3."""
MUON_FLOPS_PER_PARAMETER = 12
"""Muon beside its products: momentum 3, Nesterov 3, norm 2, division 1, decay 1, scaled update 2."""


@dataclass(frozen=True, kw_only=True)
class WithAdamPart:
    """What methods share that train hidden matrices their own way, and the rest by AdamW."""

    adam_lr: Positive | None = None
    """Peak learning rate of the Adam part; null: lr (sensible where an update has AdamW's size, RMS 0.2 lr)."""
    adam_weight_decay: NonNegative | None = None
    """Weight decay of the Adam part; null: weight_decay."""
    adam_beta1: Share = 0.9
    """Decay of the Adam part's first moment, a step."""
    adam_beta2: Share = 0.95
    """Decay of the Adam part's second moment, a step."""
    adam_eps: Positive = 1e-8
    """Added to the root of the Adam part's second moment (units of the gradient)."""
    decay_vectors: bool = False
    """Whether gains, biases and scalars decay too."""

    search_space: ClassVar[SearchSpace] = {"lr": (2**-9, 2**-4, "log2")}

    def family(self, role: Role) -> Family:
        """Muon's for hidden matrices, Adam's for the rest."""
        return "muon" if role == "hidden" else "adam"


def scaled_group(
    group: ParameterGroup, *, lr: float, weight_decay: float, decay_vectors: bool, **extra: Any
) -> dict[str, Any]:
    """A torch parameter group with this group's multipliers applied to lr and weight decay."""
    decays = decay_vectors or group.role != "vector"
    return {
        "params": list(group.parameters),
        "lr": lr * group.scaling.lr,
        "weight_decay": weight_decay * group.scaling.weight_decay if decays else 0.0,
        "role": group.role,
        "names": list(group.names),
        **extra,
    }


def fused_available(parameters: Iterable[Tensor]) -> bool:
    """Whether torch's fused element-wise optimizers take these parameters."""
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "xpu", "mps") for p in parameters)


def adam_group(
    group: ParameterGroup,
    *,
    lr: float,
    weight_decay: float,
    decay_vectors: bool,
    betas: tuple[float, float],
    eps: float,
) -> dict[str, Any]:
    """``scaled_group`` with what AdamW reads beside."""
    out = scaled_group(group, lr=lr, weight_decay=weight_decay, decay_vectors=decay_vectors)
    return {**out, "betas": betas, "eps": eps * group.scaling.eps, "fused": fused_available(group.parameters)}


def adam_part(method: Any, group: ParameterGroup) -> dict[str, Any]:
    """``adam_group`` for a method whose fields adam_* set its Adam part (null: as for its matrices)."""
    decay = method.adam_weight_decay
    part = adam_group(
        group,
        lr=method.lr if method.adam_lr is None else method.adam_lr,
        weight_decay=method.weight_decay if decay is None else decay,
        decay_vectors=method.decay_vectors,
        betas=(method.adam_beta1, method.adam_beta2),
        eps=method.adam_eps,
    )
    return {**part, "family": "adam"}


def refuse_other_shapes(group: ParameterGroup, method: str) -> None:
    """HarnessError unless each parameter is a matrix or a stack of matrices."""
    for name, p in zip(group.names, group.parameters, strict=True):
        if p.ndim not in (2, 3):
            raise HarnessError(
                f"parameter {name!r} has role {group.role} and shape {tuple(p.shape)}; {method} trains matrices of "
                "shape (fan_out, fan_in) or stacks (matrices, fan_out, fan_in): give it the role vector, "
                "or reshape it"
            )


def muon_group(method: Any, group: ParameterGroup, **extra: Any) -> dict[str, Any]:
    """A torch group of hidden matrices; HarnessError unless shapes are (out, in) or (matrices, out, in)."""
    refuse_other_shapes(group, "Muon")
    part = scaled_group(
        group, lr=method.lr, weight_decay=method.weight_decay, decay_vectors=method.decay_vectors
    )
    return {**part, "family": "muon", "momentum": method.momentum, "nesterov": method.nesterov, **extra}


def stack_shape(shape: Sequence[int], split_fused: bool = True) -> tuple[int, int, int]:
    """(matrices, rows, columns) that Muon makes of a parameter of this shape."""
    matrices, rows, columns = (1, *shape)[-3:]
    return (matrices, rows, columns) if split_fused else (1, matrices * rows, columns)


def adam_step(state: Any, group: dict[str, Any]) -> None:
    """One AdamW step for a group made by ``adam_group``; ``state`` is the optimizer's state mapping."""
    parameters = [p for p in group["params"] if p.grad is not None]
    if not parameters:
        return
    for p in parameters:
        if not state[p]:
            # On the device for the fused kernel, as torch.optim.AdamW keeps it.
            device = p.device if group["fused"] else None
            state[p]["step"] = torch.zeros((), dtype=torch.float32, device=device)
            state[p]["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            state[p]["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
    beta1, beta2 = group["betas"]
    adamw(
        parameters,
        [p.grad for p in parameters],
        [state[p]["exp_avg"] for p in parameters],
        [state[p]["exp_avg_sq"] for p in parameters],
        [],
        [state[p]["step"] for p in parameters],
        foreach=False,
        fused=group["fused"],
        amsgrad=False,
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )


def count(shapes: Iterable[Sequence[int]]) -> int:
    """Number of elements in these shapes."""
    return sum(math.prod(shape) for shape in shapes)

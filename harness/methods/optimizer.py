"""The kind ``optimizer``: what turns parameter groups into a ``torch.optim.Optimizer``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from harness.methods.parametrization import Scaling
from harness.methods.roles import Family, Role

if TYPE_CHECKING:
    import torch


@dataclass(kw_only=True)
class ParameterGroup:
    """Parameters of equal role and scaling, as an optimizer receives them.

    A fused projection is one parameter of shape (matrices, fan_out, fan_in): a stack of separate
    matrices. Every other matrix has shape (fan_out, fan_in), as in ``torch.nn.Linear``; an embedding
    has shape (vocabulary, width).
    """

    role: Role
    names: list[str]
    parameters: list[torch.nn.Parameter]
    fan_in: int
    fan_out: int
    scaling: Scaling = field(default_factory=lambda: Scaling(init_std=0.0))


@runtime_checkable
class Optimizer(Protocol):
    """Builds a ``torch.optim.Optimizer`` whose groups carry ``lr``; the training loop scales ``lr`` by the
    schedule, every group by the same factor, so a method may give each group its own peak LR.

    What it builds may have the switches ``eval()`` and ``train()``, both or none, if it evaluates other weights
    than it trains (schedule-free): ``eval()`` puts those to be evaluated into the parameters, ``train()`` those
    to be trained. The harness calls ``train()`` before the first step and the two around every evaluation, and
    then puts the trained weights back bit for bit; state must be left as if nobody had evaluated.
    """

    lr: float

    def family(self, role: Role) -> Family:
        """The update family that trains this role: decides the parametrization's row."""
        ...

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """An optimizer over these groups; multiplies each group's lr, weight decay and eps by its scaling."""
        ...

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """FLOPs of one step for parameters of these roles and shapes."""
        ...

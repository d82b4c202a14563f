"""The contracts of the plug-in kinds: what a baseline, or a user's method, must offer.

A method is a frozen keyword-only dataclass in a file of its own, registered by
``harness.registry.register(kind)``. These protocols say what the dataclass needs beside its fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import nn

Role = Literal["embedding", "hidden", "readout", "vector"]
Family = Literal["adam", "muon", "sgd"]
ROLES: tuple[Role, ...] = ("embedding", "hidden", "readout", "vector")


@dataclass(frozen=True, kw_only=True)
class ParameterShape:
    """What a parametrization may know of one parameter."""

    role: Role
    """Where the parameter stands: embedding, hidden matrix, readout, or vector (gains, biases, scalars)."""
    fan_in: int
    """Inputs of the map (vocabulary for an embedding; 1 for a vector, as in 2203.03466)."""
    fan_out: int
    """Outputs of the map."""
    base_fan_in: int
    """fan_in of the same parameter in the base model."""
    base_fan_out: int
    """fan_out of the same parameter in the base model."""
    depth: int = 1
    """Number of residual layers."""
    base_depth: int = 1
    """Number of residual layers in the base model."""
    residual: bool = False
    """Whether the parameter lies inside a residual branch."""
    zero_init: bool = False
    """Whether the model asks for zeros (a readout or query initialised at zero)."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What a parametrization answers for one parameter."""

    init_std: float
    """Standard deviation of the initial weights (0: zeros)."""
    forward: float = 1.0
    """Factor on the map's output."""
    lr: float = 1.0
    """Factor on the learning rate."""
    weight_decay: float = 1.0
    """Factor on the weight-decay coefficient (the optimizer multiplies it with its own LR)."""
    eps: float = 1.0
    """Factor on Adam's epsilon."""


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
    schedule, every group by the same factor, so a method may give each group its own peak LR."""

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


@runtime_checkable
class Parametrization(Protocol):
    """Pure function from a parameter's place and shape to its scaling."""

    def scaling(self, shape: ParameterShape, family: Family) -> Scaling:
        """Raises HarnessError if the family has no rule here, naming those that have one."""
        ...

    def attention_scale(self, head_width: int, base_head_width: int) -> float:
        """Factor on q.k before the softmax."""
        ...

    def residual_scale(self, depth: int, base_depth: int) -> float:
        """Factor on each residual branch's output."""
        ...


@runtime_checkable
class Norm(Protocol):
    """Builds a normalisation (or its replacement) for a site of the network."""

    def build(self, width: int, site: Literal["attention", "feed_forward", "final"]) -> nn.Module: ...

    def embedding_scale(self, width: int) -> float | None:
        """Initial value of a learnable scalar after the embedding, or None for no such scalar."""
        ...


@runtime_checkable
class Rank(Protocol):
    """A functional of singular values."""

    def __call__(self, singular_values: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """singular_values: (..., n) in descending order; shape: (rows, columns). Returns (...)."""
        ...

    def definition(self) -> Mapping[str, object]:
        """Definition id, gamma, centring, normalisation: stored with every value."""
        ...


PROTOCOLS: dict[str, type] = {
    "optimizer": Optimizer,
    "parametrization": Parametrization,
    "norm": Norm,
    "rank": Rank,
}

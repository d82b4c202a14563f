"""The kind ``parametrization``: initial scale and multipliers of each parameter, from its role and shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.methods.roles import Family, Role


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

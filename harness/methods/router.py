"""The kind ``router``: which experts of a mixture run on which token.

Shapes: B sequences, T tokens, N = B T, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Routing:
    """What a router decides for one part of a batch."""

    chosen_NE: Tensor
    """Bool: which experts run on which token."""
    gates_NE: Tensor
    """Float32, differentiable: factor on the expert's output; read only where chosen."""
    loss: Tensor | None = None
    """(), float32, differentiable, its coefficient included: added to the training loss; None: there is none."""
    sums: Mapping[str, Tensor]
    """What ``update`` needs; every entry adds over parts of a batch and over machines. ``counts``, (E,) int64, is
    always there."""


@runtime_checkable
class Router(Protocol):
    """Chooses experts from logits and a state that changes only between steps.

    The budget ``active`` (mean experts a token) comes from the layer. ``fixed`` routers give every token exactly
    that many.
    """

    fixed: bool

    def init(self, num_experts: int, active: float, logit_std: float) -> dict[str, Tensor]:
        """State before the first step: float32 on the CPU, {} if none.

        ``logit_std``: of the logits before training, for a start that meets the budget. Raises HarnessError for a
        budget that it cannot hold.
        """
        ...

    def route(self, logits_BTE: Tensor, state: Mapping[str, Tensor], active: float) -> Routing:
        """Choices for float32 logits. Changes nothing and draws nothing; a token's choice depends on the state and
        its own logits alone, so that no later token leaks into it, but ``loss`` may look at the whole part."""
        ...

    def update(
        self, state: Mapping[str, Tensor], sums: Mapping[str, Tensor], num_tokens: int, active: float
    ) -> dict[str, Tensor]:
        """The state for the next step from the sums of this one; changes nothing itself."""
        ...

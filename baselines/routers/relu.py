"""ReMoE: an expert runs where its logit is above 0, and the logit is its gate (2412.14711).

The loss c / N sum_n sum_i relu(logit)_ni Ft_i E / k, Ft_i the mean count of the expert a token, thins the choice;
its coefficient c is multiplied by a factor where too many run, divided where too few do, after every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from baselines.routers._scores import counts, share
from harness.methods.router import Routing
from harness.registry import register


@register("router")
@dataclass(frozen=True, kw_only=True)
class Relu:
    """Every expert whose logit is above 0; a loss whose weight follows the excess holds the mean number."""

    start: float = 1e-8
    """First coefficient of the loss."""
    factor: float = 1.2
    """What the coefficient is multiplied with, or divided by, after each step."""

    fixed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.start < float("inf"):
            raise ValueError(f"start {self.start!r}: give a number above 0")
        if not 1 < self.factor < float("inf"):
            raise ValueError(f"factor {self.factor!r}: give a number above 1")

    def init(self, num_experts: int, active: float, logit_std: float) -> dict[str, Tensor]:
        """The loss's coefficient."""
        share(active, num_experts, "relu")
        return {"coefficient": torch.tensor(self.start)}

    def route(self, logits_BTE: Tensor, state: Mapping[str, Tensor], active: float) -> Routing:
        """Experts of positive logit, and the loss that thins them."""
        scores_NE = logits_BTE.relu().flatten(0, 1)
        chosen_NE = scores_NE.detach() > 0
        number = counts(chosen_NE)
        N, E = chosen_NE.shape
        loss = state["coefficient"] * (scores_NE.mean(0) * (number / N)).sum() * (E / active)
        return Routing(chosen_NE=chosen_NE, gates_NE=scores_NE, loss=loss, sums={"counts": number})

    def update(
        self, state: Mapping[str, Tensor], sums: Mapping[str, Tensor], num_tokens: int, active: float
    ) -> dict[str, Tensor]:
        """More weight where too many experts ran, less where too few."""
        too_many = sums["counts"].sum() > active * num_tokens
        new = torch.where(too_many, state["coefficient"] * self.factor, state["coefficient"] / self.factor)
        # Neither end may stick: 0 and inf are no longer multiplied.
        return {"coefficient": new.clamp(1e-30, 1e30)}

"""Top-p routing with a controlled p: the fewest experts whose scores sum to p of all (2403.07652).

After every step p <- p - rate (|Ft| - k), |Ft| the mean experts a token: the proportional part of the controller of
2512.13996.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from baselines.routers._scores import Score, counts, scores, share
from harness.methods.router import Routing
from harness.registry import register


@register("router")
@dataclass(frozen=True, kw_only=True)
class TopP:
    """The fewest experts of largest score that hold a share p of the token's scores, at least one."""

    rate: float = 0.002
    """Step of p for an excess of one expert a token."""
    score: Score = "softmax"
    """How logits become scores."""

    fixed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"rate {self.rate!r}: give a number above 0")

    def init(self, num_experts: int, active: float, logit_std: float) -> dict[str, Tensor]:
        """The p that the ``active`` largest of normal logits' scores hold."""
        share(active, num_experts, "top_p")
        ranks = torch.arange(num_experts, 0, -1, dtype=torch.float64) / (num_experts + 1)
        held = scores(logit_std * torch.special.ndtri(ranks), self.score)
        held = held.cumsum(0) / held.sum()
        below = held[max(int(active) - 1, 0)]
        above = held[min(int(active), num_experts - 1)]
        return {"p": (below + (active - int(active)) * (above - below)).clamp(0.0, 1.0).float()}

    def route(self, logits_BTE: Tensor, state: Mapping[str, Tensor], active: float) -> Routing:
        """Experts in falling order of score until p is reached."""
        scores_NE = scores(logits_BTE, self.score).flatten(0, 1)
        part_NE = scores_NE.detach() / scores_NE.detach().sum(-1, keepdim=True)
        sorted_NE, order_NE = part_NE.sort(dim=-1, descending=True, stable=True)
        taken_NE = sorted_NE.cumsum(-1) - sorted_NE < state["p"]
        taken_NE[:, 0] = True
        chosen_NE = torch.zeros_like(taken_NE).scatter_(-1, order_NE, taken_NE)
        return Routing(chosen_NE=chosen_NE, gates_NE=scores_NE, sums={"counts": counts(chosen_NE)})

    def update(
        self, state: Mapping[str, Tensor], sums: Mapping[str, Tensor], num_tokens: int, active: float
    ) -> dict[str, Tensor]:
        """A step of p against the excess."""
        excess = sums["counts"].sum().double() / num_tokens - active
        return {"p": (state["p"].double() - self.rate * excess).clamp(0.0, 1.0).float()}

"""Top-k routing with an auxiliary loss: coefficient E sum_i F_i P_i (2101.03961, equations 4 to 6; kexue.fm 10735).

F_i is the expert's share of pairs, without a gradient; P_i the mean of its score over the token's sum of scores.
Balanced, the loss is the coefficient, whatever E, k and scope. (Hugging Face's form is k times as strong.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from baselines.routers._scores import Gates, Scope, Score, counts, gated, scores, top, whole
from harness.methods.router import Routing
from harness.registry import register


@register("router")
@dataclass(frozen=True, kw_only=True)
class AuxiliaryLoss:
    """The k experts of largest score, pushed towards equal load by a loss."""

    coefficient: float = 0.01
    """Weight of the loss; its balanced value."""
    scope: Scope = "batch"
    """What F and P are means over: the whole part of a batch, or each sequence (2412.19437, section 2.1.2)."""
    score: Score = "sigmoid"
    """How logits become scores."""
    gates: Gates = "raw"
    """raw: an expert's factor is its score; normalised: divided by the sum over the token's experts."""

    fixed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.coefficient < float("inf"):
            raise ValueError(f"coefficient {self.coefficient!r}: give a number from 0 on")

    def init(self, num_experts: int, active: float, logit_std: float) -> dict[str, Tensor]:
        """No state."""
        whole(active, num_experts, "auxiliary_loss", self.gates)
        return {}

    def route(self, logits_BTE: Tensor, state: Mapping[str, Tensor], active: float) -> Routing:
        """The ``active`` largest scores of each token, and the loss of their load."""
        B, T, E = logits_BTE.shape
        scores_BTE = scores(logits_BTE, self.score)
        scores_NE = scores_BTE.flatten(0, 1)
        chosen_NE = top(scores_NE.detach(), int(active))
        loss = None
        if self.coefficient > 0:
            groups = (B, T) if self.scope == "sequence" else (1, B * T)
            share_GE = chosen_NE.view(*groups, E).sum(1).float() / (groups[1] * int(active))
            mean_GE = (scores_BTE / scores_BTE.sum(-1, keepdim=True)).view(*groups, E).mean(1)
            loss = self.coefficient * E * (share_GE * mean_GE).sum(-1).mean()
        return Routing(
            chosen_NE=chosen_NE, gates_NE=gated(scores_NE, chosen_NE, self.gates), loss=loss,
            sums={"counts": counts(chosen_NE)},
        )  # fmt: skip

    def update(
        self, state: Mapping[str, Tensor], sums: Mapping[str, Tensor], num_tokens: int, active: float
    ) -> dict[str, Tensor]:
        """Nothing changes."""
        return {}

"""Top-k routing without any balancing: the k largest scores (1701.06538, without its noise)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from baselines.routers._scores import Gates, Score, counts, gated, scores, top, whole
from harness.methods.router import Routing
from harness.registry import register


@register("router")
@dataclass(frozen=True, kw_only=True)
class TopK:
    """The k experts of largest score."""

    score: Score = "sigmoid"
    """How logits become scores."""
    gates: Gates = "raw"
    """raw: an expert's factor is its score; normalised: divided by the sum over the token's experts."""

    fixed: ClassVar[bool] = True

    def init(self, num_experts: int, active: float, logit_std: float) -> dict[str, Tensor]:
        """No state."""
        whole(active, num_experts, "top_k", self.gates)
        return {}

    def route(self, logits_BTE: Tensor, state: Mapping[str, Tensor], active: float) -> Routing:
        """The ``active`` largest scores of each token."""
        scores_NE = scores(logits_BTE, self.score).flatten(0, 1)
        chosen_NE = top(scores_NE.detach(), int(active))
        return Routing(
            chosen_NE=chosen_NE, gates_NE=gated(scores_NE, chosen_NE, self.gates),
            sums={"counts": counts(chosen_NE)},
        )  # fmt: skip

    def update(
        self, state: Mapping[str, Tensor], sums: Mapping[str, Tensor], num_tokens: int, active: float
    ) -> dict[str, Tensor]:
        """Nothing changes."""
        return {}

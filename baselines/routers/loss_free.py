"""Loss-free balancing: top-k of score + bias, and a bias that follows the load (2408.15664; kexue.fm 10757).

b <- b - rate (d - mean d) with d = sign(F - 1/E) (F the experts' shares of pairs); rms: d = (F - 1/E) over its root
mean square; proportional: d = E (F - 1/E). The bias never enters a gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from baselines.routers._scores import Gates, Score, counts, gated, rms, scores, shares, top, whole
from harness.methods.router import Routing
from harness.registry import register


@register("router")
@dataclass(frozen=True, kw_only=True)
class LossFree:
    """The k experts of largest score + bias; the bias falls where an expert has too many tokens."""

    rule: Literal["sign", "rms", "proportional"] = "sign"
    """How far the bias moves for a deviation of the load."""
    rate: float = 0.01
    """Step of the bias. rate times the number of steps should be 2 or more, or it cannot follow the router."""
    score: Score = "sigmoid"
    """How logits become scores."""
    gates: Gates = "raw"
    """raw: an expert's factor is its score; normalised: divided by the sum over the token's experts."""

    fixed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"rate {self.rate!r}: give a number above 0")

    def init(self, num_experts: int, active: float, logit_std: float) -> dict[str, Tensor]:
        """No bias."""
        whole(active, num_experts, "loss_free", self.gates)
        return {"bias": torch.zeros(num_experts)}

    def route(self, logits_BTE: Tensor, state: Mapping[str, Tensor], active: float) -> Routing:
        """The ``active`` largest of score + bias."""
        scores_NE = scores(logits_BTE, self.score).flatten(0, 1)
        chosen_NE = top(scores_NE.detach() + state["bias"], int(active))
        return Routing(
            chosen_NE=chosen_NE, gates_NE=gated(scores_NE, chosen_NE, self.gates),
            sums={"counts": counts(chosen_NE)},
        )  # fmt: skip

    def update(
        self, state: Mapping[str, Tensor], sums: Mapping[str, Tensor], num_tokens: int, active: float
    ) -> dict[str, Tensor]:
        """A step of the bias against the load."""
        deviation = shares(sums) - 1 / len(sums["counts"])
        if self.rule == "sign":
            d = deviation.sign()
            d = d - d.mean()
        else:
            d = rms(deviation) if self.rule == "rms" else len(deviation) * deviation
        return {"bias": (state["bias"].double() - self.rate * d).float()}

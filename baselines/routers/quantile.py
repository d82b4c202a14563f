"""Quantile balancing: top-k of score + bias, the bias one alternation of the assignment's dual (kexue.fm 11619).

With alpha the (k+1)-th largest of a token's score + bias, b_i = -(the 1 - k/E quantile over tokens of s_i - alpha),
then centred. The quantile comes from a histogram of alpha - s_i over [min b - 1, max b + 1]. Tokens are routed with
the bias of the step before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from baselines.routers._histogram import histogram, quantile
from baselines.routers._scores import Gates, Score, counts, gated, scores, top, whole
from harness.methods.router import Routing
from harness.registry import register


@register("router")
@dataclass(frozen=True, kw_only=True)
class Quantile:
    """The k experts of largest score + bias; the bias makes the last step's load even."""

    ema: float = 0.0
    """Share of the old bias that is kept."""
    bins: int = 1000
    """Bins of the histogram."""
    score: Score = "sigmoid"
    """How logits become scores."""
    gates: Gates = "raw"
    """raw: an expert's factor is its score; normalised: divided by the sum over the token's experts."""

    fixed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema {self.ema!r}: give a number from 0 to below 1")
        if self.bins < 2:
            raise ValueError(f"bins {self.bins!r}: give 2 or more")

    def init(self, num_experts: int, active: float, logit_std: float) -> dict[str, Tensor]:
        """No bias."""
        whole(active, num_experts, "quantile", self.gates)
        return {"bias": torch.zeros(num_experts)}

    def route(self, logits_BTE: Tensor, state: Mapping[str, Tensor], active: float) -> Routing:
        """The ``active`` largest of score + bias, and the margins that the next bias is made of."""
        k, bias = int(active), state["bias"]
        scores_NE = scores(logits_BTE, self.score).flatten(0, 1)
        plain_NE = scores_NE.detach()
        chosen_NE = top(plain_NE + bias, k)
        sums = {"counts": counts(chosen_NE)}
        if k < len(bias):
            cutoff_N1 = (plain_NE + bias).topk(k + 1, -1).values[:, -1:]
            sums["margins"] = histogram(cutoff_N1 - plain_NE, *_range(bias), self.bins)
        return Routing(chosen_NE=chosen_NE, gates_NE=gated(scores_NE, chosen_NE, self.gates), sums=sums)

    def update(
        self, state: Mapping[str, Tensor], sums: Mapping[str, Tensor], num_tokens: int, active: float
    ) -> dict[str, Tensor]:
        """The bias under which each expert would have had an equal share."""
        bias = state["bias"]
        if "margins" not in sums:
            return {"bias": bias.clone()}
        low, high = _range(bias.double())
        found = quantile(sums["margins"], active / len(bias), low, high)
        new = self.ema * bias.double() + (1 - self.ema) * (found - found.mean())
        return {"bias": (new - new.mean()).float()}


def _range(bias: Tensor) -> tuple[Tensor, Tensor]:
    return bias.min() - 1.0, bias.max() + 1.0

"""Dynamic k by a bias: an expert runs where score + bias > 0 (kexue.fm 10815, equations 7 to 9).

With F the experts' shares of pairs, Ft their mean counts a token and |Ft| the mean experts a token:
equation 7: b <- b - rate (d - mean d + sign(|Ft| - k)), d = sign(F - 1/E);
equation 9: b <- b - rate sign(Ft - k/E).
``norm: rms`` divides by the root mean square in place of the sign. ``budget: quantile`` (this harness's own) shifts
all biases by the pooled order statistic that would have met the budget, in place of the sign of the excess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from baselines.routers._histogram import histogram, quantile
from baselines.routers._scores import Score, calibrated, counts, rms, scores, share, shares, top
from harness.methods.router import Routing
from harness.registry import register


@register("router")
@dataclass(frozen=True, kw_only=True)
class BiasThreshold:
    """Every expert whose score + bias is above 0; the biases balance the load and hold the mean number."""

    equation: Literal[7, 9] = 7
    """7: balance and budget apart; 9: both in one sign."""
    norm: Literal["sign", "rms"] = "sign"
    """Whether a deviation counts by its sign, or over the root mean square of all experts'."""
    budget: Literal["sign", "quantile"] = "sign"
    """Equation 7: how the mean number of experts is held."""
    rate: float = 0.01
    """Step of the bias. rate times the number of steps should be 2 or more, or it cannot follow the router."""
    ema: float = 0.9
    """budget quantile: share of the shift that is left to later steps."""
    bins: int = 1000
    """budget quantile: bins of the histogram."""
    start: Literal["calibrated", "zero"] = "calibrated"
    """calibrated: a bias that meets the budget for normal logits; zero: all experts run at first."""
    at_most: bool = False
    """Equation 8: the budget is a limit, and pushes only from above."""
    at_least: Literal[0, 1] = 0
    """1: a token without any expert gets the best one; it counts."""
    score: Score = "sigmoid"
    """How logits become scores."""

    fixed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.rate < float("inf"):
            raise ValueError(f"rate {self.rate!r}: give a number above 0")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema {self.ema!r}: give a number from 0 to below 1")
        if self.bins < 2:
            raise ValueError(f"bins {self.bins!r}: give 2 or more")
        if self.equation == 9 and (self.at_most or self.budget == "quantile"):
            raise ValueError("equation 9 has no budget term of its own; at_most and budget are for equation 7")
        if self.at_most and self.budget == "quantile":
            raise ValueError("at_most is a sign that is 0 below the budget; give budget: sign")

    def init(self, num_experts: int, active: float, logit_std: float) -> dict[str, Tensor]:
        """The bias of all experts."""
        share(active, num_experts, "bias_threshold")
        start = -calibrated(active, num_experts, logit_std, self.score) if self.start == "calibrated" else 0.0
        return {"bias": torch.full((num_experts,), start)}

    def route(self, logits_BTE: Tensor, state: Mapping[str, Tensor], active: float) -> Routing:
        """Experts above their threshold."""
        scores_NE = scores(logits_BTE, self.score).flatten(0, 1)
        keys_NE = scores_NE.detach() + state["bias"]
        chosen_NE = keys_NE > 0
        if self.at_least:
            chosen_NE = chosen_NE | (top(keys_NE, 1) & ~chosen_NE.any(-1, keepdim=True))
        sums = {"counts": counts(chosen_NE)}
        if self.budget == "quantile":
            sums["keys"] = histogram(keys_NE.reshape(-1, 1), *_range(state["bias"]), self.bins)
        return Routing(chosen_NE=chosen_NE, gates_NE=scores_NE, sums=sums)

    def update(
        self, state: Mapping[str, Tensor], sums: Mapping[str, Tensor], num_tokens: int, active: float
    ) -> dict[str, Tensor]:
        """A step against load and excess."""
        bias, number = state["bias"].double(), sums["counts"].double() / num_tokens
        E = len(bias)
        if self.equation == 9:
            return {"bias": (bias - self.rate * self._size(number - active / E)).float()}
        d = self._size(shares(sums) - 1 / E)
        new = bias - self.rate * (d - d.mean())
        if self.budget == "quantile":
            shift = quantile(sums["keys"], 1 - active / E, *_range(bias))
            return {"bias": (new - (1 - self.ema) * shift).float()}
        excess = number.sum() - active
        return {"bias": (new - self.rate * (excess.clamp_min(0.0) if self.at_most else excess).sign()).float()}

    def _size(self, deviation: Tensor) -> Tensor:
        return deviation.sign() if self.norm == "sign" else rms(deviation)


def _range(bias: Tensor) -> tuple[Tensor, Tensor]:
    return bias.min(), bias.max() + 1.0

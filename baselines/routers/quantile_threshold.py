"""Dynamic quantile balancing: an expert runs on the share k/E of tokens that score it highest (kexue.fm 11626).

b <- ema b - (1 - ema) q_i, q_i the 1 - k/E quantile of the expert's scores over the step's tokens, from a histogram
over [0, 1]; an expert runs where score + b > 0, with the b of the step before: expert choice, made causal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from baselines.routers._histogram import histogram, quantile
from baselines.routers._scores import Score, calibrated, counts, scores, share
from harness.methods.router import Routing
from harness.registry import register


@register("router")
@dataclass(frozen=True, kw_only=True)
class QuantileThreshold:
    """Every expert whose score is above the running quantile of its scores."""

    ema: float = 0.9
    """Share of the old threshold that is kept."""
    bins: int = 1000
    """Bins of the histogram."""
    start: Literal["calibrated", "zero"] = "calibrated"
    """calibrated: a threshold that meets the budget for normal logits; zero: all experts run at first."""
    score: Score = "sigmoid"
    """How logits become scores."""

    fixed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema {self.ema!r}: give a number from 0 to below 1")
        if self.bins < 2:
            raise ValueError(f"bins {self.bins!r}: give 2 or more")

    def init(self, num_experts: int, active: float, logit_std: float) -> dict[str, Tensor]:
        """Minus the threshold of all experts."""
        share(active, num_experts, "quantile_threshold")
        start = -calibrated(active, num_experts, logit_std, self.score) if self.start == "calibrated" else 0.0
        return {"bias": torch.full((num_experts,), start)}

    def route(self, logits_BTE: Tensor, state: Mapping[str, Tensor], active: float) -> Routing:
        """Experts above their threshold."""
        scores_NE = scores(logits_BTE, self.score).flatten(0, 1)
        chosen_NE = scores_NE.detach() + state["bias"] > 0
        sums = {"counts": counts(chosen_NE), "scores": histogram(scores_NE.detach(), 0.0, 1.0, self.bins)}
        return Routing(chosen_NE=chosen_NE, gates_NE=scores_NE, sums=sums)

    def update(
        self, state: Mapping[str, Tensor], sums: Mapping[str, Tensor], num_tokens: int, active: float
    ) -> dict[str, Tensor]:
        """The running quantile, a step on."""
        found = quantile(sums["scores"], 1 - active / len(state["bias"]), 0.0, 1.0)
        return {"bias": (self.ema * state["bias"].double() - (1 - self.ema) * found).float()}

"""What routers share: scores of logits, the k largest, gates, counts, the budgets that they take.

Shapes: B sequences, T tokens, N = B T, E experts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from harness.errors import HarnessError

Score = Literal["sigmoid", "softmax"]
Gates = Literal["raw", "normalised"]
Scope = Literal["batch", "sequence"]


def scores(logits: Tensor, score: Score) -> Tensor:
    """Scores in (0, 1) of logits (..., E)."""
    return logits.sigmoid() if score == "sigmoid" else logits.softmax(-1)


def top(keys_NE: Tensor, k: int) -> Tensor:
    """Mask of each token's k largest keys; which of equal keys are taken is not promised (torch.topk's choice)."""
    if k >= keys_NE.shape[-1]:
        return torch.ones_like(keys_NE, dtype=torch.bool)
    chosen = torch.zeros_like(keys_NE, dtype=torch.bool)
    return chosen.scatter_(-1, keys_NE.topk(k, -1, sorted=False).indices, True)


def gated(scores_NE: Tensor, chosen_NE: Tensor, gates: Gates) -> Tensor:
    """Gates: the scores, or the scores divided by their sum over the chosen experts."""
    if gates == "raw":
        return scores_NE
    total = (scores_NE * chosen_NE).sum(-1, keepdim=True)
    return scores_NE / total.clamp_min(torch.finfo(total.dtype).tiny)


def counts(chosen_NE: Tensor) -> Tensor:
    """(E,) int64: tokens of each expert. Integers add exactly; a sum of bfloat16 would flip signs of updates."""
    return chosen_NE.sum(0, dtype=torch.int64)


def shares(sums: Mapping[str, Tensor]) -> Tensor:
    """(E,) float64: each expert's share of all pairs; even where nothing was chosen."""
    number = sums["counts"].double()
    total = number.sum()
    return torch.where(total > 0, number / total.clamp_min(1), torch.full_like(number, 1 / len(number)))


def whole(active: float, num_experts: int, name: str, gates: Gates = "raw") -> int:
    """The budget of a router with a fixed number of experts a token. HarnessError if it is none."""
    if active != int(active) or not 1 <= active <= num_experts:
        raise HarnessError(
            f"experts.active {active:g}: router {name!r} gives every token the same number of experts; give a "
            f"whole number from 1 to {num_experts}"
        )
    if gates == "normalised" and active == 1:
        raise HarnessError(
            f"router {name!r}: gates 'normalised' are 1 whatever the router says where experts.active is 1, so it "
            "could not learn; give gates: raw"
        )
    return int(active)


def share(active: float, num_experts: int, name: str) -> float:
    """active / num_experts of a router with a mean budget. HarnessError outside (0, num_experts]."""
    if not 0 < active <= num_experts or not math.isfinite(active):
        raise HarnessError(
            f"experts.active {active:g}: router {name!r} holds a mean number of experts a token; give one above 0 "
            f"and at most {num_experts}"
        )
    return active / num_experts


def calibrated(active: float, num_experts: int, logit_std: float, score: Score) -> float:
    """The score that a share active / E of normal logits exceed (kexue.fm 10815 and 11626)."""
    z = torch.special.ndtri(torch.tensor(1 - active / num_experts, dtype=torch.float64))
    z = z.clamp(-8.0, 8.0)
    if score == "sigmoid":
        return float((logit_std * z).sigmoid())
    ranks = torch.arange(1, num_experts + 1, dtype=torch.float64) / (num_experts + 1)
    return float((logit_std * z).exp() / (logit_std * torch.special.ndtri(ranks)).exp().sum())


def rms(x: Tensor) -> Tensor:
    """x over the root of its mean square; zeros where all is zero."""
    size = x.square().mean().sqrt()
    return torch.where(size > 0, x / size.clamp_min(torch.finfo(x.dtype).tiny), torch.zeros_like(x))

"""Quantiles from histograms of integers, which add over parts of a batch and over machines; quantiles do not."""

from __future__ import annotations

import torch
from torch import Tensor


def histogram(values_NE: Tensor, low: Tensor | float, high: Tensor | float, bins: int) -> Tensor:
    """(E, bins) int64: each column's values in equal bins of [low, high]; those beyond are in the outermost."""
    E = values_NE.shape[-1]
    place = ((values_NE - low) / (high - low) * bins).long().clamp_(0, bins - 1)
    place = place + torch.arange(E, device=place.device) * bins
    return torch.bincount(place.flatten(), minlength=E * bins).view(E, bins)


def quantile(counts: Tensor, q: float, low: Tensor | float, high: Tensor | float) -> Tensor:
    """(rows,) float64: the value below which a share q of a row's counts (rows, bins) lies, linear inside a bin."""
    bins = counts.shape[-1]
    below = counts.double().cumsum(-1)
    target = (q * below[:, -1:]).clamp_min(0.0)
    place = torch.searchsorted(below, target, right=False).clamp_(max=bins - 1)
    inside = counts.double().gather(-1, place)
    before = below.gather(-1, place) - inside
    part = torch.where(inside > 0, (target - before) / inside.clamp_min(1), torch.full_like(inside, 0.5))
    return (low + (place + part.clamp(0.0, 1.0)) * ((high - low) / bins)).squeeze(-1).double()

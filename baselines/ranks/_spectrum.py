"""What the rank functionals share: checked float64 spectra, and what zero and NaN matrices give."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import HarnessError


def checked(singular_values: Tensor, shape: tuple[int, int], name: str) -> Tensor:
    """The spectrum in float64. HarnessError if it is not the whole spectrum of a matrix of this shape."""
    if singular_values.ndim == 0 or singular_values.shape[-1] != min(shape) or min(shape) < 1:
        raise HarnessError(
            f"rank {name!r}: got singular values of shape {tuple(singular_values.shape)} for a matrix of "
            f"shape {tuple(shape)}; give all of them ({min(shape)}, at least 1) in the last dimension (a "
            "truncated spectrum gives another number)"
        )
    return singular_values.to(torch.float64)


def normalised(s: Tensor) -> Tensor:
    """The spectrum over its largest value, so that powers neither overflow nor vanish; zeros for zeros."""
    largest = s[..., :1]
    return s / torch.where(largest > 0, largest, 1.0)


def defined(value: Tensor, s: Tensor) -> Tensor:
    """The value; 0 for a zero matrix, NaN for a spectrum with a NaN."""
    value = torch.where(s[..., 0] > 0, value.to(torch.float64), 0.0)
    return torch.where(s.isnan().any(-1), torch.nan, value)


def entropy(weights: Tensor) -> Tensor:
    """Shannon entropy (nats) of non-negative weights (..., n), normalised to sum to 1; 0 log 0 = 0."""
    total = weights.sum(-1, keepdim=True)
    p = weights / torch.where(total > 0, total, 1.0)
    return -torch.xlogy(p, p).sum(-1)

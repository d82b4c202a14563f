"""The kind ``rank``: a functional of singular values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Rank(Protocol):
    """A functional of singular values."""

    def __call__(self, singular_values: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """singular_values: (..., n) in descending order; shape: (rows, columns). Returns (...)."""
        ...

    def definition(self) -> Mapping[str, object]:
        """Definition id, gamma, centring, normalisation: stored with every value."""
        ...

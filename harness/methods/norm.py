"""The kind ``norm``: a normalisation, or what stands in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import nn


@runtime_checkable
class Norm(Protocol):
    """Builds a normalisation (or its replacement) for a site of the network."""

    def build(self, width: int, site: Literal["attention", "feed_forward", "final"]) -> nn.Module: ...

    def embedding_scale(self, width: int) -> float | None:
        """Initial value of a learnable scalar after the embedding, or None for no such scalar."""
        ...

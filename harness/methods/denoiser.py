"""The kind ``denoiser``: the expectation of an image behind noise, which diffusion codecs walk along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Denoiser(Protocol):
    """E[x0 | x_t] for x_t = sqrt(a) x0 + sqrt(1 - a) e, e standard normal, pixels in [-1, 1].

    May have ``dtype`` and ``device`` (default float32 and cpu), which enter the numerics tag of a file.
    """

    @property
    def multiple(self) -> int:
        """Sides of its images are multiples of this; others are mirrored up to one by whoever calls."""
        ...

    @property
    def digest(self) -> bytes:
        """8 bytes over all that its answers rest on: a file says which denoiser it was made with."""
        ...

    def predict(self, x_BCHW: Tensor, alpha_bar: float) -> Tensor:
        """(B, 3, H, W) float32 of the same shape.

        Draws nothing, changes nothing; an image's answer does not hang on the others of its batch but for rounding.
        """
        ...

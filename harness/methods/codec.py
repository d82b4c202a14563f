"""The kind ``codec``: what turns an image into bytes and these bytes into an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from harness.methods.denoiser import Denoiser


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """An image as a codec leaves it, before it is put into a file."""

    payload: bytes
    """What the decoder reads: the bits below, filled up with zeros to whole bytes."""
    bits: int
    """Bits that the codec's formula charges, all side information included; 8 a byte where it has none."""
    reconstruction: np.ndarray
    """(height, width, 3) uint8: what the decoder will give, bit for bit within a numerics class."""


@runtime_checkable
class Codec(Protocol):
    """Encodes one image to bytes and decodes them: real bytes, a real decoder.

    Its fields are part of the file, which is decoded by a codec built from them: they are ints, floats, bools,
    texts or Literals. Images come one by one, since a batch would change the last digits of what a network
    gives. The file around the payload (sides, fields, checks) is the harness's: ``harness.codecs``.
    """

    trained: ClassVar[bool]
    """Whether it needs a denoiser; one that does not is given None."""

    def encode(self, image: np.ndarray, denoiser: Denoiser | None) -> Encoded:
        """image: (height, width, 3) uint8, of any sides from 1. Raises HarnessError if it cannot be encoded."""
        ...

    def decode(self, payload: bytes, size: tuple[int, int], denoiser: Denoiser | None) -> np.ndarray:
        """The image of (height, width, 3) uint8 with ``size`` = (height, width).

        A payload that was never written ends in DamagedError or in some image of that size, in bounded time.
        """
        ...

"""The kind ``codec``: what turns an image into bytes and these bytes into an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

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


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How a codec on the ancestral sampler chooses a step's noise, as far as theory must know."""

    codewords: int
    """K, that are tried."""
    atoms: int = 1
    """M, that its noise is made of."""
    signed: bool = False
    """Whether they enter with either sign, and equal weights; else in greedy mixes with coefficients."""
    coefficient_bits: int = 0
    """Bits of the coefficient of each after the first, in mixes."""
    codebook: Literal["hadamard", "gaussian"] = "hadamard"
    """Rows of orthogonal transforms, of the length of the next power of two; or independent normals."""
    scaled: bool = False
    """Whether the noise is scaled to unit variance after its codewords were added up."""


@runtime_checkable
class Codec(Protocol):
    """Encodes one image to bytes and decodes them: real bytes, a real decoder.

    Its fields are part of the file, which is decoded by a codec built from them: they are ints, floats, bools,
    texts or Literals. Images come one by one, since a batch would change the last digits of what a network
    gives.

    One that walks a sampler may say ``walk_of_choices() -> [(step, Choice | None)]``, None for noise that is not
    chosen, or None in all where no theory tells its choice. The file around the payload (sides, fields, checks) is
    the harness's: ``harness.codecs``.
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

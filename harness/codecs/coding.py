"""An image to a file and back: a codec, a denoiser where it needs one, and the container around its payload."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import environment
from harness.codecs import container
from harness.errors import DamagedError, HarnessError
from harness.methods.codec import Encoded

MOST_PIXELS = 1 << 24
"""Pixels of the largest image that is encoded or decoded unless more are asked for: 4,096 x 4,096."""
DTYPES = ("float32", "bfloat16", "float16")
SAME_DTYPE, OTHER_DTYPE = 80, 45
"""dB between encoder's and decoder's image that are promised across numerics classes."""


@dataclass(frozen=True, kw_only=True)
class EncodedFile:
    """An image in a file."""

    file: bytes
    encoded: Encoded

    @property
    def payload_bytes(self) -> int:
        """Bytes without header and checksum."""
        return len(self.encoded.payload)


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An image from a file."""

    image: np.ndarray
    """(height, width, 3) uint8."""
    held: container.Container
    """What the file said."""
    warning: str
    """What is promised of the image where the decoder's numerics are not the encoder's; empty where they are."""


def encode(codec: Any, image: np.ndarray, denoiser: Any = None) -> EncodedFile:
    """Encode an image of (height, width, 3) uint8. Raises HarnessError where it or the denoiser does not fit."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise HarnessError(f"an image is (height, width, 3) uint8, not {image.shape} {image.dtype}")
    height, width = image.shape[:2]
    if not (1 <= height <= container.LONGEST_SIDE and 1 <= width <= container.LONGEST_SIDE):
        raise HarnessError(
            f"an image of {width:,} x {height:,} pixels: sides must lie in 1 to {container.LONGEST_SIDE:,}"
        )
    denoiser = denoiser if codec.trained else None
    encoded = codec.encode(image, denoiser)
    marks = (denoiser.digest, numerics_tag(denoiser)) if codec.trained else ()
    file = container.pack(codec, (height, width), encoded.payload, *marks)
    return EncodedFile(file=file, encoded=encoded)


def decode(file: bytes, denoiser: Any = None, most_pixels: int = MOST_PIXELS) -> Decoded:
    """Decode a file.

    Raises DamagedError (its sentence begins with "it") for a file that is not whole, foreign, made with another
    denoiser, or that declares more than ``most_pixels``; HarnessError for a codec or a denoiser that is missing.
    """
    codec, held = container.unpack(file)
    height, width = held.size
    if height * width > most_pixels:
        raise DamagedError(
            f"it declares an image of {width:,} x {height:,} pixels, more than the {most_pixels:,} allowed"
        )
    warning = ""
    if held.denoiser is not None:
        if denoiser is None:
            raise HarnessError(
                f"codec {held.codec!r} needs the denoiser that the file was made with, {held.denoiser.hex()}"
            )
        if denoiser.digest != held.denoiser:
            raise DamagedError(
                f"it was made with denoiser {held.denoiser.hex()}, not with this one, {denoiser.digest.hex()}"
            )
        warning = _promise(held.tag or b"", numerics_tag(denoiser))
    image = codec.decode(held.payload, held.size, denoiser if codec.trained else None)
    assert image.shape == (height, width, 3) and image.dtype == np.uint8
    return Decoded(image=image, held=held, warning=warning)


def numerics_tag(denoiser: Any) -> bytes:
    """The denoiser's dtype (a byte), then 3 bytes of a digest over numerics class, device and threads."""
    import torch

    device = str(getattr(denoiser, "device", "cpu"))
    threads = torch.get_num_threads() if device == "cpu" else 0
    text = f"{environment.numerics_class(device)}, {device.partition(':')[0]}, {threads} threads"
    dtype = str(getattr(denoiser, "dtype", torch.float32)).removeprefix("torch.")
    return bytes([DTYPES.index(dtype)]) + hashlib.sha256(text.encode()).digest()[: container.TAG_BYTES - 1]


def _promise(encoder: bytes, decoder: bytes) -> str:
    """What is said where two tags differ."""
    if encoder == decoder:
        return ""
    db = SAME_DTYPE if encoder[0] == decoder[0] else OTHER_DTYPE
    return (
        f"made in numerics class {encoder.hex()}, decoded in {decoder.hex()}: the image is not the encoder's bit "
        f"for bit, but within {db} dB of it"
    )

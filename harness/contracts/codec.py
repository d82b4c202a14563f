"""Contract of the kind ``codec``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import torch

from harness.codecs.container import fields_of
from harness.errors import DamagedError, HarnessError
from harness.methods.codec import Codec, Encoded

PROTOCOL = Codec
SIZES = ((16, 16), (13, 22), (1, 1))
"""Sides of the images that it is tried on."""


class _Shrinking:
    """The exact denoiser of white pixels with variance 1/4: E[x0 | x] = sqrt(a) / (a + 4 (1 - a)) x."""

    multiple = 4
    digest = b"contract"
    dtype = torch.float32

    def predict(self, x_BCHW: torch.Tensor, alpha_bar: float) -> torch.Tensor:
        return x_BCHW * (alpha_bar**0.5 / (alpha_bar + 4 * (1 - alpha_bar)))


def check(method: Any) -> Iterator[str]:
    """Breaches of the codec's contract."""
    if not isinstance(method.trained, bool):
        yield f"trained is {method.trained!r}, expected True or False"
        return
    try:
        fields_of(method)
    except HarnessError as error:
        yield str(error)
    denoiser: Any = _Shrinking() if method.trained else None
    for size in SIZES:
        image = picture(size)
        kept = image.copy()
        encoded = method.encode(image, denoiser)
        if problem := _about(encoded, image, kept):
            yield f"encode of an image of {size[1]} x {size[0]}: {problem}"
            continue
        if method.encode(image, denoiser).payload != encoded.payload:
            yield "encode of one image twice gives two payloads"
        decoded = method.decode(encoded.payload, size, denoiser)
        if not np.array_equal(decoded, encoded.reconstruction):
            yield f"decode of an image of {size[1]} x {size[0]} is not the encoder's reconstruction"
        yield from _strange_payloads(method, encoded.payload, size, denoiser)


def picture(size: tuple[int, int]) -> np.ndarray:
    """A ramp with an edge: (height, width, 3) uint8."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    ramp = 40 + 120 * rows / size[0] + 60 * (columns > size[1] // 2)
    return np.stack([ramp, ramp[::-1], 200 - ramp / 2], axis=-1).astype(np.uint8)


def _about(encoded: Any, image: np.ndarray, kept: np.ndarray) -> str:
    """What is wrong with what the encoder gave; empty if nothing."""
    if not isinstance(encoded, Encoded):
        return f"{type(encoded).__name__}, expected Encoded"
    if not np.array_equal(image, kept):
        return "it changes the image that it was given"
    found = encoded.reconstruction
    if not isinstance(found, np.ndarray) or found.shape != image.shape or found.dtype != np.uint8:
        shape = getattr(found, "shape", type(found).__name__)
        return f"the reconstruction is {shape} {getattr(found, 'dtype', '')}, expected {image.shape} uint8"
    if not isinstance(encoded.payload, bytes) or -(-encoded.bits // 8) != len(encoded.payload):
        return f"{encoded.bits} bits are charged for a payload of {len(encoded.payload)} bytes"
    return ""


def _strange_payloads(method: Any, payload: bytes, size: tuple[int, int], denoiser: Any) -> Iterator[str]:
    """A payload cut short, made longer or with a flipped bit is a DamagedError or an image of this size."""
    flipped = [payload[:i] + bytes([payload[i] ^ 1 << b]) + payload[i + 1 :]
               for i, b in product(range(min(len(payload), 3)), (0, 7))]  # fmt: skip
    for strange in (payload[:-1], payload + b"\0", *flipped):
        try:
            found = method.decode(strange, size, denoiser)
        except DamagedError:
            continue
        except Exception as error:
            yield f"decode of a damaged payload raises {type(error).__name__}: {error}; expected DamagedError"
            return
        if getattr(found, "shape", None) != (*size, 3):
            yield f"decode of a damaged payload gives {getattr(found, 'shape', found)}, expected {(*size, 3)}"
            return

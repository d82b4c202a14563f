"""What the classic codecs share: Pillow's encoder on bare pixels, made smaller first and larger afterwards.

At the rates of the diffusion codecs a classic codec is better on a smaller picture than at its lowest quality:
without this axis a comparison is one of headers.
"""

from __future__ import annotations

import io
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image, features

from harness.errors import DamagedError, HarnessError
from harness.methods.codec import Encoded


@dataclass(frozen=True, kw_only=True)
class Classic(ABC):
    """A codec of Pillow's."""

    trained: ClassVar[bool] = False
    format: ClassVar[str]
    """What Pillow calls it."""
    feature: ClassVar[str]
    """What Pillow calls the library that it needs."""

    downsample: Literal[1, 2, 4, 8] = 1
    """Factor by which both sides are divided before encoding; decoding enlarges by bicubic interpolation."""

    @classmethod
    def available(cls) -> str | None:
        """Why it cannot run here."""
        return None if features.check(cls.feature) else f"this Pillow was built without {cls.feature}"

    @abstractmethod
    def options(self, size: tuple[int, int]) -> dict[str, Any]:
        """Options of Pillow's encoder for a picture of (width, height)."""

    def encode(self, image: np.ndarray, denoiser: Any) -> Encoded:
        """Encode the pixels alone: an opened file would take its colour profile along, 3 kB in AVIF."""
        size = image.shape[:2]
        small = Image.fromarray(np.ascontiguousarray(image))
        if self.downsample > 1:
            small = small.resize(self._small(size), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        try:
            small.save(out, self.format, **self.options(small.size))
        except (OSError, ValueError) as error:
            raise HarnessError(
                f"codec {self.name!r} cannot encode {small.width} x {small.height} pixels: {error}"  # type: ignore[attr-defined]
            ) from None
        payload = out.getvalue()
        return Encoded(payload=payload, bits=8 * len(payload), reconstruction=self.decode(payload, size, None))

    def decode(self, payload: bytes, size: tuple[int, int], denoiser: Any) -> np.ndarray:
        """Decode, and enlarge to ``size``."""
        width, height = self._small(size)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with Image.open(io.BytesIO(payload), formats=[self.format]) as opened:
                    if opened.size != (width, height):
                        found = f"{opened.width} x {opened.height}"
                        raise DamagedError(f"its picture has {found} pixels where {width} x {height} belong")
                    small = opened.convert("RGB")
        except DamagedError:
            raise
        # Pillow's plug-ins raise whatever comes up in them.
        except Exception as error:
            what = str(error) or type(error).__name__
            raise DamagedError(f"its payload is no readable {self.format}: {what}") from None
        if self.downsample > 1:
            small = small.resize((size[1], size[0]), Image.Resampling.BICUBIC)
        return np.asarray(small)

    def _small(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of what is encoded."""
        return -(-size[1] // self.downsample), -(-size[0] // self.downsample)


def quality_within(name: str, quality: int, least: int, most: int) -> None:
    """Raises ValueError where a quality is out of a codec's range."""
    if not least <= quality <= most:
        raise ValueError(f"{name}: quality must lie in {least} to {most}, got {quality}")

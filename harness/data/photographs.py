"""Colour photographs in the wheels of scikit-image, scikit-learn and matplotlib: images without a download.

Two folds: what is trained for a fold never sees its photographs, so that two trainings hold out every photograph
once. Pixels are known by digest: another version of a wheel, or of a JPEG decoder, is noticed.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from harness.errors import DataError, unknown

if TYPE_CHECKING:
    from harness.streams import Streams

FOLDS = ("a", "b")
WHEELS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
"""Package as it is imported -> the wheel that brings it."""
DRAWS = 1 << 31
"""Places are drawn as shares of this many."""


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """An image file in a wheel."""

    name: str
    file: str
    """Path within ``package``."""
    package: str
    size: tuple[int, int]
    """(height, width) in pixels."""
    fold: str
    """The fold that holds it out."""
    natural: bool
    """Whether a camera took it of the world about us; else an instrument, for science."""
    licence: str
    """As the package that ships it says."""
    digest: str
    """Of its decoded pixels, as ``pixel_digest`` gives it."""


_SK, _LEARN, _PLOT = "data", "datasets/images", "mpl-data/sample_data"
_FREE, _CC0 = "public domain", "CC0"
PHOTOGRAPHS = tuple(
    Photograph(name=Path(file).stem, file=file, package=package, size=size, fold=fold, natural=natural,
               licence=licence, digest=digest)
    for package, file, size, fold, natural, licence, digest in (
        ("skimage", f"{_SK}/astronaut.png", (512, 512), "a", True, f"NASA, {_FREE}", "7605af19ba2b9758"),
        ("skimage", f"{_SK}/chelsea.png", (300, 451), "a", True, f"S. van der Walt, {_CC0}", "2a48da897e30584d"),
        ("skimage", f"{_SK}/coffee.png", (400, 600), "a", True, f"R. Michetti, {_CC0}", "013a8175a6f60538"),
        ("skimage", f"{_SK}/rocket.jpg", (427, 640), "a", True, f"SpaceX, {_FREE}", "9d55b6a566c73f3c"),
        ("skimage", f"{_SK}/ihc.png", (512, 512), "a", False, "CMMI, no known restrictions", "d5e9af0ebdb1dc92"),
        ("skimage", f"{_SK}/motorcycle_left.png", (500, 741), "b", True, "Middlebury stereo benchmark 2014",
         "6a51b16e82babbaf"),
        ("skimage", f"{_SK}/hubble_deep_field.jpg", (872, 1000), "b", False, f"NASA, {_FREE}", "b368ad50e13b6113"),
        ("skimage", f"{_SK}/retina.jpg", (1411, 1411), "b", False, f"M. Häggström, {_CC0}", "7e469361f4e9005e"),
        ("sklearn", f"{_LEARN}/china.jpg", (427, 640), "b", True, "danielbuechele, CC BY 2.0", "9459dffd4ad72e7b"),
        ("sklearn", f"{_LEARN}/flower.jpg", (427, 640), "b", True, "vultilion, CC BY 2.0", "028008e42002966d"),
        ("matplotlib", f"{_PLOT}/grace_hopper.jpg", (600, 512), "b", True, f"US Navy, {_FREE}", "b4fd8aa4629cf804"),
    )
)  # fmt: skip
"""All of them. Of the stereo pair one image is taken: the other shows the same scene."""


def held_out(fold: str) -> tuple[Photograph, ...]:
    """The photographs that nothing trained for this fold has seen. UnknownNameError for another fold."""
    if fold not in FOLDS:
        raise unknown("fold", fold, FOLDS)
    return tuple(p for p in PHOTOGRAPHS if p.fold == fold)


def training(fold: str) -> tuple[Photograph, ...]:
    """The photographs that training for this fold may see: those that it does not hold out."""
    held = held_out(fold)
    return tuple(p for p in PHOTOGRAPHS if p not in held)


def pixel_digest(pixels: np.ndarray) -> str:
    """16 hex digits of SHA-256 over shape and values of (height, width, 3) uint8."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]


@lru_cache(maxsize=len(PHOTOGRAPHS))
def pixels(photograph: Photograph) -> np.ndarray:
    """(height, width, 3) uint8, not to be written to.

    Raises DataError where the wheel or the file is missing, or the pixels are not those that the list knows.
    """
    file = _folder(photograph) / photograph.file
    wheel = WHEELS[photograph.package]
    try:
        with Image.open(file) as opened:
            found = np.asarray(opened.convert("RGB"))
    except FileNotFoundError:
        raise DataError(
            f"photograph {photograph.name!r}: {wheel} is installed without {photograph.file}; install {wheel} from "
            "its wheel, in the version that constraints.txt names"
        ) from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read as an image ({error}); install {wheel} again") from None
    if (digest := pixel_digest(found)) != photograph.digest:
        raise DataError(
            f"{file}: its pixels are not those of photograph {photograph.name!r} (digest {digest}, expected "
            f"{photograph.digest}); install {wheel} and pillow in the versions that constraints.txt names"
        )
    found.setflags(write=False)
    return found


def _folder(photograph: Photograph) -> Path:
    """The package's folder; it is found without being imported, which would take a second."""
    spec = importlib.util.find_spec(photograph.package)
    if spec is None or spec.origin is None:
        wheel = WHEELS[photograph.package]
        raise DataError(
            f"photograph {photograph.name!r} lies in the wheel of {wheel}, which is not installed; run "
            f"pip install {wheel}"
        )
    return Path(spec.origin).parent


def reduced(photograph: Photograph, side: int) -> np.ndarray:
    """The whole photograph with a shorter side of ``side`` pixels: (height, width, 3) uint8.

    Raises DataError where that would enlarge it.
    """
    height, width = photograph.size
    short = min(height, width)
    if not 1 <= side <= short:
        raise DataError(
            f"photograph {photograph.name!r} has {short} pixels on its shorter side, not {side}; give 1 to {short}"
        )
    size = round(width * side / short), round(height * side / short)
    return np.asarray(Image.fromarray(pixels(photograph)).resize(size, Image.Resampling.LANCZOS))


def square(photograph: Photograph, side: int) -> np.ndarray:
    """The photograph's middle, as large a square as it has, at (side, side, 3) uint8."""
    small = reduced(photograph, side)
    top, left = (small.shape[0] - side) // 2, (small.shape[1] - side) // 2
    return np.ascontiguousarray(small[top : top + side, left : left + side])


class Crops:
    """Square crops of photographs at several sizes."""

    def __init__(self, photographs: Sequence[Photograph], sides: Sequence[int], crop: int) -> None:
        """``sides``: shorter sides that each photograph is reduced to; ``crop``: side of a crop, at most these."""
        if min(sides) < crop:
            raise DataError(f"crops of {crop} pixels do not fit a side of {min(sides)}; valid: up to {min(sides)}")
        self.crop = crop
        self._images = [reduced(p, side) for p in photographs for side in sides]

    def drawn(self, streams: Streams, step: int, count: int) -> np.ndarray:
        """(count, crop, crop, 3) uint8 of a step: a function of the streams' seed and the step alone.

        Photograph, size, place and reflection are uniform.
        """
        draws = streams.integers("crops", step, DRAWS, (count, 4))
        return np.stack([self._crop(*map(int, row)) for row in draws])

    def _crop(self, which: int, down: int, right: int, turned: int) -> np.ndarray:
        image = self._images[which * len(self._images) // DRAWS]
        top, left = (
            place * (length - self.crop + 1) // DRAWS
            for place, length in zip((down, right), image.shape[:2], strict=True)
        )
        found = image[top : top + self.crop, left : left + self.crop]
        return found[:, ::-1] if turned % 2 else found

    def mean_square(self) -> float:
        """Of all their values in [-1, 1], every image with equal weight."""
        return float(np.mean([np.square(image / 127.5 - 1).mean() for image in self._images]))

    def tiles(self, parity: int) -> np.ndarray:
        """(tiles, crop, crop, 3) uint8: the squares of one colour, 0 or 1, of a chessboard laid on each image."""
        c = self.crop
        return np.stack([
            image[i * c : (i + 1) * c, j * c : (j + 1) * c]
            for image in self._images
            for i in range(image.shape[0] // c)
            for j in range(image.shape[1] // c)
            if (i + j) % 2 == parity
        ])  # fmt: skip

"""Image files as codecs take them: upright, 8 bits, three channels; what cannot become that is refused."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.codecs.coding import MOST_PIXELS
from harness.codecs.container import LONGEST_SIDE
from harness.errors import DataError
from harness.files import write_atomically

OPAQUE = 255
ORIENTATION, UPRIGHT = 0x0112, 1
"""The EXIF tag that says how a camera was held, and its usual value."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Value of that tag -> what turns the picture upright (EXIF 2.32, 4.6.4)."""
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
"""Formats that are read, as Pillow calls them: pictures, not documents that a program draws."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image file's pixels."""

    pixels: np.ndarray
    """(height, width, 3) uint8."""
    notes: Sequence[str]
    """What was done to come from the file to these pixels, if anything."""


def read(path: Path, most_pixels: int = MOST_PIXELS) -> Picture:
    """The pixels of an image file. Raises DataError naming the file, what is wrong with it, and the cure."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    try:
        with warnings.catch_warnings():
            # Its size is judged below, before a pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                _refuse(opened, most_pixels)
                return _upright_rgb(opened)
    except Image.DecompressionBombError:
        raise DataError(f"{path}: has more than the {most_pixels:,} pixels allowed; make it smaller") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image that Pillow reads; give a PNG, JPEG, WebP, AVIF or TIFF") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # Pillow's plug-ins raise whatever comes up in them.
        raise DataError(f"{path}: a damaged image: {str(error) or type(error).__name__}") from None


def _refuse(image: Image.Image, most_pixels: int) -> None:
    """Raises DataError for what no three channels of 8 bits can hold, before a pixel is decoded."""
    width, height = image.size
    if width * height > most_pixels:
        raise DataError(
            f"has {width:,} x {height:,} pixels, more than the {most_pixels:,} allowed; make it smaller"
        )
    if max(width, height) > LONGEST_SIDE:
        raise DataError(f"has {width:,} x {height:,} pixels; a side may have {LONGEST_SIDE:,}; cut it first")
    # Cameras put a preview behind the picture of an MPO; other formats mean frames to be shown in turn.
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise DataError(f"has {frames} frames; save the one that is meant as an image of its own")
    deep = any("16" in _raw_mode(tile) for tile in getattr(image, "tile", ()))
    if deep or image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise DataError("has more than 8 bits a channel; convert it to 8 first")
    if image.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"):
        raise DataError(f"has colours in {image.mode}, which need a profile to become RGB; convert it to RGB first")


def _raw_mode(tile: tuple) -> str:
    """How a decoder is told that the channels lie in the file."""
    arguments = tile[3] if len(tile) > 3 else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return str(first)


def _upright_rgb(image: Image.Image) -> Picture:
    notes = []
    held = image.getexif().get(ORIENTATION, UPRIGHT)
    if "icc_profile" in image.info:
        notes.append("its colour profile is left out")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (OPAQUE, OPAQUE):
            raise DataError("has transparent pixels; lay it on a background first")
        notes.append("its alpha channel, opaque throughout, is left out")
    elif image.mode in ("1", "L"):
        notes.append("it is grey and becomes three equal channels")
    pixels = image.convert("RGB")
    if held in TURNS:
        pixels = pixels.transpose(TURNS[held])
        notes.append("it is turned upright as its EXIF tag says")
    return Picture(pixels=np.array(pixels), notes=notes)


def write(path: Path, pixels: np.ndarray) -> None:
    """Write (height, width, 3) uint8 as PNG, whole or not at all."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    write_atomically(path, out.getvalue())

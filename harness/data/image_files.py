"""A picture file as a small square of pixels, by rules that take what cameras, scanners and artists leave.

    held turned            turned upright, as its EXIF tag says
    palette                its colours
    transparent            laid on white
    16 bits a channel      the upper 8
    CMYK, YCbCr            to RGB by Pillow's formula, without a colour profile
    grey, and rgb wanted   three equal channels
    not square             ``fit``: cropped round its centre, or padded; then resized

Several frames, 32-bit or floating-point pixels, and more than MOST_PIXELS are refused, unread.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.codecs.pictures import FORMATS
from harness.data.image_spec import ImageSpec
from harness.errors import DataError

MOST_PIXELS = 100_000_000
"""Pixels of the largest picture that is decoded: a small file may claim to hold more than there is memory."""
MOST_BYTES = 1 << 30
"""Bytes of the largest file that is read."""
WHITE = (255, 255, 255, 255)
EIGHT_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
"""Modes, as Pillow calls them, that it converts to RGB itself."""
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def read(file: Path, spec: ImageSpec) -> np.ndarray:
    """(channels, size, size) uint8 of a picture file. Raises DataError saying what is wrong with it."""
    try:
        if (size := file.stat().st_size) > MOST_BYTES:
            raise DataError(f"has {size:,} bytes, more than the {MOST_BYTES:,} allowed")
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})") from None
    return decode(data, spec)


def decode(data: bytes, spec: ImageSpec) -> np.ndarray:
    """(channels, size, size) uint8 of a picture file's bytes. Raises DataError saying what is wrong with it."""
    try:
        with warnings.catch_warnings():
            # Its size is judged below, before a pixel is decoded; what else Pillow tells of odd files is noise.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _refuse(image)
                return square(_upright(image), spec)
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"has more than the {MOST_PIXELS:,} pixels allowed") from None
    except UnidentifiedImageError:
        raise DataError("not a picture that Pillow reads") from None
    except Exception as error:  # Pillow's plug-ins raise whatever comes up in them.
        raise DataError(f"damaged: {str(error) or type(error).__name__}") from None


def _refuse(image: Image.Image) -> None:
    """Raises DataError for what the rules have no answer to, before a pixel is decoded."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise DataError(f"has {width:,} x {height:,} pixels, more than the {MOST_PIXELS:,} allowed")
    # Cameras put a preview behind the picture of an MPO; other formats mean frames to be shown in turn.
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise DataError(f"has {frames} frames")
    if image.mode not in (*EIGHT_BIT, *SIXTEEN_BIT):
        raise DataError(f"has pixels of mode {image.mode}, whose range is not known")


def _upright(image: Image.Image) -> Image.Image:
    """The picture as a viewer shows it: in mode L if it is grey, else RGB."""
    # The tag is asked for first: a conversion drops it.
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BIT:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, WHITE)
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def square(image: Image.Image, spec: ImageSpec) -> np.ndarray:
    """(channels, size, size) uint8 of an upright picture in mode L or RGB."""
    image = image.convert("L" if spec.channels == 1 else "RGB")
    width, height = image.size
    if spec.fit == "pad":
        longest = max(width, height)
        whole = Image.new(image.mode, (longest, longest))
        whole.paste(image, ((longest - width) // 2, (longest - height) // 2))
        image = whole
    else:
        shortest = min(width, height)
        left, top = (width - shortest) // 2, (height - shortest) // 2
        image = image.crop((left, top, left + shortest, top + shortest))
    if image.width != spec.side:
        image = image.resize((spec.side, spec.side), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))

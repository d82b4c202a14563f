"""``harness decode``: the image in a file."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import typer

from harness.commands._images import Denoiser, MostPixels, Output
from harness.commands._options import Json, Plugins, complain, load_plugins, print_json, warn
from harness.exit_codes import INTEGRITY, OK

EXAMPLE = "harness decode photo.mhc --original photo.jpg"
EXITS = (INTEGRITY,)


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `harness encode` wrote.")],
    denoiser: Denoiser = None,
    output: Output = None,
    original: Annotated[
        Path | None, typer.Option("--original", help="The image that was encoded: its PSNR.", show_default=False)
    ] = None,
    most_pixels: MostPixels = 1 << 24,
    plugins: Plugins = None,
    as_json: Json = False,
) -> int:
    """Decode a file to a PNG. The file and, for a diffusion codec, its denoiser are all that is needed.

    Without --output the image is named as the file, with .decoded.png at its end. A file that is cut off, altered,
    foreign or of another denoiser gives a sentence, never a picture.
    """
    from harness.codecs import coding, pictures
    from harness.commands import _images
    from harness.commands._progress import working
    from harness.errors import DamagedError, HarnessError
    from harness.numbers import duration

    load_plugins(plugins)
    target = _images.new_file(output, file.with_suffix(".decoded.png"))
    compared = pictures.read(original, most_pixels).pixels if original else None
    opened = _images.opened_denoiser(denoiser)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror or error}") from None
    start = time.perf_counter()
    try:
        with working("decoding"):
            done = coding.decode(data, opened, most_pixels)
    except DamagedError as error:
        complain(f"error: {file}: {error}")
        return INTEGRITY
    except HarnessError as error:
        raise HarnessError(f"{file}: {error}") from None
    seconds = time.perf_counter() - start
    height, width = done.held.size
    if compared is not None and compared.shape != done.image.shape:
        found = f"{compared.shape[1]} x {compared.shape[0]}"
        raise HarnessError(f"{original}: has {found} pixels where {file} has {width} x {height}")
    pictures.write(target, done.image)
    if done.warning:
        warn(f"{file}: {done.warning}")
    psnr = None if compared is None else _images.psnr(compared, done.image)
    if as_json:
        print_json({
            "file": str(file), "image": str(target), "codec": done.held.codec, "fields": dict(done.held.fields),
            "width": width, "height": height, "payload_bytes": len(done.held.payload), "file_bytes": len(data),
            "payload_bits_per_pixel": _images.bits_per_pixel(len(done.held.payload), done.image),
            "file_bits_per_pixel": _images.bits_per_pixel(len(data), done.image),
            "psnr": psnr if psnr is not None and math.isfinite(psnr) else None, "seconds": seconds,
            "warning": done.warning,
        })  # fmt: skip
        return OK
    typer.echo(f"{target}: {width} x {height} pixels from {file}, by {done.held.codec}")
    lines = {
        "payload": _images.rate(len(done.held.payload), done.image),
        "file": _images.rate(len(data), done.image),
        "PSNR": "give --original to have it" if psnr is None else _images.told_psnr(psnr),
        "time": duration(seconds),
    }
    typer.echo(_images.listed(lines))
    return OK

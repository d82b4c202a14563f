"""``harness encode``: an image to a file."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import typer

from harness.commands._images import Denoiser, MostPixels, Output
from harness.commands._options import Json, Plugins, load_plugins, print_json, warn

EXAMPLE = "harness encode photo.jpg quality=30 --codec webp"
EXITS = ()


def command(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="PNG, JPEG, WebP, AVIF, TIFF, ... of 8 bits.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the codec; see `harness show codec.NAME`."),
    ] = None,
    codec: Annotated[str, typer.Option("--codec", help="The codec; `harness list codecs` names them.")] = "turbo",
    denoiser: Denoiser = None,
    output: Output = None,
    most_pixels: MostPixels = 1 << 24,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """Encode an image to a file that decodes with `harness decode`. Says its size, rate, PSNR and seconds.

    Without --output the file is named as the image, with .mhc at its end.
    """
    from harness.codecs import coding, pictures
    from harness.commands import _images
    from harness.commands._progress import working
    from harness.files import write_atomically
    from harness.methods.construct import build
    from harness.numbers import duration

    load_plugins(plugins)
    method = build("codec", {"name": codec, **_images.keyed(words or [], "harness encode")})
    target = _images.new_file(output, image.with_suffix(".mhc"))
    picture = pictures.read(image, most_pixels)
    opened = _images.opened_denoiser(denoiser) if method.trained else None
    start = time.perf_counter()
    with working("encoding"):
        done = coding.encode(method, picture.pixels, opened)
    seconds = time.perf_counter() - start
    write_atomically(target, done.file)
    for note in picture.notes:
        warn(f"{image}: {note}")
    height, width = picture.pixels.shape[:2]
    psnr = _images.psnr(picture.pixels, done.encoded.reconstruction)
    if as_json:
        print_json({
            "image": str(image), "file": str(target), "codec": codec, "width": width, "height": height,
            "payload_bytes": done.payload_bytes, "payload_bits": done.encoded.bits, "file_bytes": len(done.file),
            "payload_bits_per_pixel": _images.bits_per_pixel(done.payload_bytes, picture.pixels),
            "file_bits_per_pixel": _images.bits_per_pixel(len(done.file), picture.pixels),
            "psnr": psnr if math.isfinite(psnr) else None, "seconds": seconds, "notes": list(picture.notes),
        })  # fmt: skip
        return
    typer.echo(f"{target}: {image} of {width} x {height} pixels, by {codec}")
    typer.echo(
        _images.listed({
            "payload": _images.rate(done.payload_bytes, picture.pixels),
            "file": _images.rate(len(done.file), picture.pixels),
            "PSNR": _images.told_psnr(psnr),
            "time": duration(seconds),
        })
    )

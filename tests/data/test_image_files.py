"""Picture files of every sort become the square that the rules say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data import image_files
from harness.data.image_spec import ImageSpec
from harness.errors import DataError
from tests.data.pictures import noise

SQUARE = noise(3, 8, 8)


def spec(**fields: Any) -> ImageSpec:
    return ImageSpec(path="x", **{"size": 8, **fields})


def read(image: Image.Image, form: str = "PNG", options: dict[str, Any] | None = None, **fields: Any) -> np.ndarray:
    out = io.BytesIO()
    image.save(out, form, **(options or {}))
    return image_files.decode(out.getvalue(), spec(**fields))


def lines(pixels: np.ndarray) -> np.ndarray:
    """(H, W, channels) as (channels, H, W)."""
    return pixels.transpose(2, 0, 1)


def test_a_square_of_the_right_size_is_left_as_it_is() -> None:
    assert np.array_equal(read(Image.fromarray(SQUARE)), lines(SQUARE))
    assert np.array_equal(read(Image.fromarray(SQUARE), "BMP"), lines(SQUARE))


def test_grey_and_colour_become_each_other() -> None:
    grey = SQUARE[:, :, 0]
    assert np.array_equal(read(Image.fromarray(grey)), np.stack([grey] * 3))
    assert np.array_equal(read(Image.fromarray(grey), colour="grey"), grey[None])
    luma = SQUARE @ np.array([0.299, 0.587, 0.114])
    # Fixed-point arithmetic and one rounding.
    assert np.abs(read(Image.fromarray(SQUARE), colour="grey")[0] - luma).max() <= 0.51
    bits = Image.fromarray(grey).convert("1")
    assert np.array_equal(read(bits, colour="grey")[0], np.asarray(bits) * np.uint8(255))


def test_transparency_is_laid_on_white() -> None:
    alpha = np.full((8, 8, 1), 255, np.uint8)
    alpha[:4] = 0
    found = read(Image.fromarray(np.concatenate((SQUARE, alpha), 2)))
    assert (found[:, :4] == 255).all()
    assert np.array_equal(found[:, 4:], lines(SQUARE)[:, 4:])
    alpha[:] = 51
    expected = 255 + (SQUARE.astype(float) - 255) * 0.2
    assert np.abs(read(Image.fromarray(np.concatenate((SQUARE, alpha), 2))) - lines(expected)).max() <= 1
    grey = np.concatenate((SQUARE[:, :, :1], alpha), 2)
    assert np.abs(read(Image.fromarray(grey, "LA"), colour="grey")[0] - expected[:, :, 0]).max() <= 1


def test_a_palette_shows_its_colours_and_its_transparent_one_is_white() -> None:
    image = Image.fromarray((np.arange(64) % 3).astype(np.uint8).reshape(8, 8), "P")
    colours = np.array([[255, 0, 0], [0, 200, 0], [9, 8, 7]], np.uint8)
    image.putpalette(colours.tobytes())
    index = np.asarray(image)
    assert np.array_equal(read(image), lines(colours[index]))
    colours[1] = 255
    assert np.array_equal(read(image, options={"transparency": 1}), lines(colours[index]))


def test_of_sixteen_bits_the_upper_eight_are_kept() -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (8, 8), dtype=np.uint16)
    for form in ("PNG", "TIFF"):
        assert np.array_equal(read(Image.fromarray(deep), form, colour="grey")[0], (deep >> 8).astype(np.uint8))


def test_cmyk_is_subtracted_from_white() -> None:
    ink = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    found = read(Image.fromarray(ink, "CMYK"), "TIFF")
    share = 1 - ink.astype(float) / 255
    assert np.abs(found - lines(255 * share[..., :3] * share[..., 3:])).max() <= 1


@pytest.mark.parametrize("tag", range(1, 9))
def test_pictures_are_upright_however_the_camera_was_held(tag: int) -> None:
    # EXIF 2.32, 4.6.4: which side of the stored array is the visual top, and which its left.
    undo = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2), 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = tag
    stored = Image.fromarray(np.ascontiguousarray(undo[tag](SQUARE)))
    assert np.array_equal(read(stored, options={"exif": exif.tobytes()}), lines(SQUARE))


@pytest.mark.parametrize(("height", "width"), [(8, 20), (20, 8), (9, 8)])
def test_the_centre_is_cropped_or_the_whole_is_padded(height: int, width: int) -> None:
    wide = noise(5, height, width)
    top, left = (height - 8) // 2, (width - 8) // 2
    assert np.array_equal(read(Image.fromarray(wide)), lines(wide[top : top + 8, left : left + 8]))
    longest = max(height, width)
    padded = read(Image.fromarray(wide), fit="pad", size=longest)
    top, left = (longest - height) // 2, (longest - width) // 2
    assert np.array_equal(padded[:, top : top + height, left : left + width], lines(wide))
    assert int(padded.astype(int).sum()) == int(wide.astype(int).sum())


def test_shrinking_averages_and_keeps_the_mean() -> None:
    fine = np.kron(np.indices((32, 32)).sum(0) % 2, np.ones((1, 1)))[:, :, None] * np.full(3, 255.0)
    # A checkerboard of single pixels is grey when seen small; a filter without averaging would show stripes.
    found = read(Image.fromarray(fine.astype(np.uint8)))
    assert np.abs(found.astype(int) - 127.5).max() <= 10


@pytest.mark.parametrize(("data", "message"), [
    (b"", "not a picture"),
    (b"GIF89a", "not a picture|damaged"),
    (b"%PDF-1.7 a document", "not a picture"),
])  # fmt: skip
def test_other_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        image_files.decode(data, spec())


def test_a_picture_that_is_cut_off_is_damaged() -> None:
    out = io.BytesIO()
    Image.fromarray(noise(1, 64, 64)).save(out, "PNG")
    with pytest.raises(DataError, match="damaged: "):
        image_files.decode(out.getvalue()[:4000], spec())


def test_frames_and_floating_point_are_refused() -> None:
    out = io.BytesIO()
    Image.fromarray(SQUARE).save(out, "GIF", save_all=True, append_images=[Image.fromarray(SQUARE[::-1])])
    with pytest.raises(DataError, match="has 2 frames"):
        image_files.decode(out.getvalue(), spec())
    with pytest.raises(DataError, match="mode F, whose range is not known"):
        read(Image.fromarray(SQUARE[:, :, 0].astype(np.float32)), "TIFF")


@pytest.mark.parametrize("side", [20_000, 10_001])
def test_a_bomb_is_not_decoded(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    Image.new("1", (side, side)).save(out, "PNG", compress_level=9)
    assert len(out.getvalue()) < 200_000

    def decoded(self: Any, *args: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    with pytest.raises(DataError, match=r"more than the 100,000,000( pixels)? allowed"):
        image_files.decode(out.getvalue(), spec())


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        image_files.read(tmp_path / "gone.png", spec())

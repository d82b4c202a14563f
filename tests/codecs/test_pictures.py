"""Image files that a codec is given: what is taken, what is refused, and in which words."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from harness.codecs import pictures
from harness.errors import DataError

RAMP = np.stack([np.add.outer(np.arange(6) * 20, np.arange(4) * 30)] * 3, axis=-1).astype(np.uint8)
RAMP[0, 0] = (255, 0, 7)


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def refusal(path, **kwargs):
    with pytest.raises(DataError) as caught:
        pictures.read(path, **kwargs)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_pixels_come_as_they_are(tmp_path):
    picture = pictures.read(saved(tmp_path, Image.fromarray(RAMP)))
    assert np.array_equal(picture.pixels, RAMP)
    assert not picture.notes


def test_one_pixel_is_a_picture(tmp_path):
    assert pictures.read(saved(tmp_path, Image.fromarray(RAMP[:1, :1]))).pixels.tolist() == [[[255, 0, 7]]]


def test_grey_becomes_three_equal_channels(tmp_path):
    picture = pictures.read(saved(tmp_path, Image.fromarray(RAMP[..., 0])))
    assert (picture.pixels == RAMP[..., :1]).all()
    assert "grey" in picture.notes[0]


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(RAMP).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    assert np.array_equal(pictures.read(saved(tmp_path, image)).pixels, np.array(image.convert("RGB")))


def test_an_opaque_alpha_channel_is_left_out_and_a_transparent_one_refused(tmp_path):
    image = Image.fromarray(RAMP).convert("RGBA")
    picture = pictures.read(saved(tmp_path, image))
    assert np.array_equal(picture.pixels, RAMP)
    assert "alpha" in picture.notes[0]
    image.putpixel((1, 1), (1, 2, 3, 254))
    assert "has transparent pixels; lay it on a background first" in refusal(saved(tmp_path, image))


def test_a_transparent_colour_of_a_palette_is_refused(tmp_path):
    image = Image.fromarray(RAMP).quantize(8)
    assert "transparent" in refusal(saved(tmp_path, image, "a.gif", transparency=0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(tmp_path, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(RAMP), exif=exif)
    picture = pictures.read(path)
    with Image.open(path) as opened:
        assert np.array_equal(picture.pixels, np.array(ImageOps.exif_transpose(opened)))
    assert bool(picture.notes) == (orientation != 1)
    # Grey, so that the tag must survive a conversion.
    grey = saved(tmp_path, Image.fromarray(RAMP[..., 0]), "grey.png", exif=exif)
    assert np.array_equal(pictures.read(grey).pixels.shape, picture.pixels.shape)


def png_of_16_bits(colour, channels):
    """A PNG that Pillow cannot write: 16 bits a channel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(2 * channels * 4) for _ in range(6))
    header = struct.pack(">IIBBBBB", 4, 6, 16, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_are_refused_also_where_pillow_would_drop_8_of_them(tmp_path, colour, channels):
    (tmp_path / "deep.png").write_bytes(png_of_16_bits(colour, channels))
    assert "has more than 8 bits a channel; convert it to 8 first" in refusal(tmp_path / "deep.png")


def test_floats_and_ints_are_refused(tmp_path):
    assert "more than 8 bits" in refusal(saved(tmp_path, Image.fromarray(RAMP[..., 0].astype("f4")), "a.tiff"))
    assert "more than 8 bits" in refusal(saved(tmp_path, Image.fromarray(RAMP[..., 0].astype("i4")), "b.tiff"))


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_other_colours_are_refused(tmp_path, mode):
    image = Image.new(mode, (4, 6))
    assert f"has colours in {mode}, which need a profile" in refusal(saved(tmp_path, image, "a.tiff"))


def test_an_animation_is_refused(tmp_path):
    frames = [Image.fromarray(np.roll(RAMP, i, axis=0)) for i in range(3)]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert "has 3 frames; save the one that is meant as an image of its own" in refusal(path)


def test_the_preview_behind_a_cameras_picture_is_no_animation(tmp_path):
    path = saved(tmp_path, Image.fromarray(RAMP), "a.jpg", format="MPO", save_all=True,
                 append_images=[Image.fromarray(RAMP[:2])])  # fmt: skip
    with Image.open(path) as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)
    assert pictures.read(path).pixels.shape == RAMP.shape


def test_a_colour_profile_is_left_out_and_said(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = pictures.read(saved(tmp_path, Image.fromarray(RAMP), icc_profile=profile))
    assert picture.notes == ["its colour profile is left out"]


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    assert "not an image that Pillow reads; give a PNG" in refusal(tmp_path / "a.png")
    assert "No such file" in refusal(tmp_path / "nowhere.png")
    assert "Is a directory" in refusal(tmp_path)
    whole = saved(tmp_path, Image.fromarray(np.tile(RAMP, (9, 9, 1))), "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:-30])
    assert "a damaged image: " in refusal(tmp_path / "b.png")


def bomb(width, height):
    """A small PNG that declares many pixels."""
    data = bytearray(png_of_16_bits(2, 3))
    data[16:25] = struct.pack(">IIB", width, height, 8)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def test_a_decompression_bomb_is_refused_before_a_pixel_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    for width, height in ((20_000, 20_000), (10_000, 10_000), (5_000, 4_000)):
        path.write_bytes(bomb(width, height))
        assert "more than the 16,777,216" in refusal(path)
    path.write_bytes(bomb(70_000, 2))
    assert "a side may have 65,535" in refusal(path)
    assert "more than the 23 allowed" in refusal(saved(tmp_path, Image.fromarray(RAMP)), most_pixels=23)


def test_writing_and_reading_gives_the_same_pixels(tmp_path):
    pictures.write(tmp_path / "a.png", RAMP)
    assert np.array_equal(pictures.read(tmp_path / "a.png").pixels, RAMP)
    assert "icc_profile" not in Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).info

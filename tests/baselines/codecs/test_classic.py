"""JPEG, WebP, AVIF and JPEG 2000: bare pixels, smaller first where that is asked for."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from harness import registry
from harness.errors import DamagedError, PluginError
from harness.methods.construct import build

NAMES = ("jpeg", "webp", "avif", "jpeg2000")


def picture(height=64, width=96):
    rows, columns = np.mgrid[:height, :width] / 16
    waves = [127 + 90 * np.sin(rows + k) * np.cos(columns * (k + 1) / 2) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def error(a, b):
    return float(np.square(a.astype(float) - b).mean())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("downsample", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(64, 96), (17, 9), (1, 1), (1, 40)])
def test_the_decoders_image_is_the_encoders_bit_for_bit(name, downsample, size):
    codec = build("codec", {"name": name, "downsample": downsample})
    encoded = codec.encode(picture(*size), None)
    assert encoded.reconstruction.shape == (*size, 3)
    assert encoded.bits == 8 * len(encoded.payload)
    assert np.array_equal(codec.decode(encoded.payload, size, None), encoded.reconstruction)


@pytest.mark.parametrize("name", NAMES)
def test_a_smaller_picture_costs_fewer_bytes_and_quality(name):
    found = [build("codec", {"name": name, "downsample": d}).encode(picture(), None) for d in (1, 2, 4)]
    assert [len(e.payload) for e in found] == sorted((len(e.payload) for e in found), reverse=True)
    assert error(found[0].reconstruction, picture()) < error(found[2].reconstruction, picture())


def test_a_smaller_picture_is_enlarged_by_bicubic_interpolation():
    encoded = build("codec", {"name": "webp", "downsample": 2}).encode(picture(), None)
    with Image.open(io.BytesIO(encoded.payload)) as small:
        assert small.size == (48, 32)
        wanted = np.asarray(small.convert("RGB").resize((96, 64), Image.Resampling.BICUBIC))
    assert np.array_equal(encoded.reconstruction, wanted)


@pytest.mark.parametrize(("name", "better", "worse"), [
    ("jpeg", {"quality": 90}, {"quality": 5}), ("webp", {"quality": 90}, {"quality": 5}),
    ("avif", {"quality": 90}, {"quality": 5}), ("jpeg2000", {"ratio": 10.0}, {"ratio": 150.0}),
])  # fmt: skip
def test_quality_is_paid_for(name, better, worse):
    good, bad = (build("codec", {"name": name, **q}).encode(picture(), None) for q in (better, worse))
    assert len(good.payload) > len(bad.payload)
    assert error(good.reconstruction, picture()) < error(bad.reconstruction, picture())


@pytest.mark.parametrize("name", NAMES)
def test_no_colour_profile_reaches_the_payload(name):
    """Pillow copies the profile of an opened image into what it saves."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    held = io.BytesIO()
    Image.fromarray(picture()).save(held, "PNG", icc_profile=profile)
    with Image.open(held) as opened:
        assert opened.info["icc_profile"]
        encoded = build("codec", {"name": name}).encode(np.asarray(opened), None)
    with Image.open(io.BytesIO(encoded.payload)) as saved:
        assert not saved.info.get("icc_profile")


def test_jpeg_2000_is_a_bare_code_stream():
    assert build("codec", {"name": "jpeg2000"}).encode(picture(), None).payload.startswith(b"\xff\x4f\xff\x51")


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_told_and_another_size_is_not_decoded(name):
    codec = build("codec", {"name": name})
    payload = codec.encode(picture(), None).payload
    with pytest.raises(DamagedError, match="its payload is no readable"):
        codec.decode(b"hello", (64, 96), None)
    with pytest.raises(DamagedError, match="its payload is no readable"):
        codec.decode(payload[:40], (64, 96), None)
    with pytest.raises(DamagedError, match="its picture has 96 x 64 pixels where 90 x 64 belong"):
        codec.decode(payload, (64, 90), None)


def test_another_format_than_its_own_is_not_read():
    webp = build("codec", {"name": "webp"}).encode(picture(), None).payload
    with pytest.raises(DamagedError, match="no readable JPEG"):
        build("codec", {"name": "jpeg"}).decode(webp, (64, 96), None)


@pytest.mark.parametrize(("config", "message"), [
    ({"name": "jpeg", "quality": 0}, "JPEG: quality must lie in 1 to 95, got 0"),
    ({"name": "jpeg", "quality": 96}, "JPEG: quality must lie in 1 to 95, got 96"),
    ({"name": "webp", "quality": 101}, "WebP: quality must lie in 0 to 100, got 101"),
    ({"name": "avif", "quality": -1}, "AVIF: quality must lie in 0 to 100, got -1"),
    ({"name": "avif", "speed": 11}, "AVIF: speed must lie in 0 to 10, got 11"),
    ({"name": "jpeg2000", "ratio": 0.5}, "JPEG2000: ratio must be at least 1, got 0.5"),
    ({"name": "webp", "downsample": 3}, "key 'downsample'"),
])  # fmt: skip
def test_what_they_refuse(config, message):
    with pytest.raises(PluginError) as caught:
        build("codec", config)
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "library"), [("avif", "avif"), ("jpeg2000", "jpg_2000"), ("webp", "webp")])
def test_a_pillow_without_the_library_is_told(monkeypatch, name, library):
    check = features.check
    monkeypatch.setattr(features, "check", lambda feature: feature != library and check(feature))
    assert registry.unavailable("codec", name) == f"this Pillow was built without {library}"

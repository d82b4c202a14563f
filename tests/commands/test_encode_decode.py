"""`harness encode` and `harness decode`: a photograph there and back, and each thing that can be wrong."""

import json

import numpy as np
import pytest
from PIL import Image

from harness.commands import _images
from harness.exit_codes import INTEGRITY, OK, USAGE
from tests.baselines.codecs.gaussian import White
from tests.terminal import harness, here


@pytest.fixture
def photo(tmp_path):
    """A photograph with odd sides."""
    rows, columns = np.mgrid[:45, :63]
    waves = [127 + 100 * np.sin(rows / (5 + k)) * np.cos(columns / (7 - k)) for k in range(3)]
    path = tmp_path / "photo.png"
    Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def white(monkeypatch):
    """``--denoiser NAME`` gives one that is exact for white pixels; its name tells them apart."""
    monkeypatch.setattr(_images, "opened_denoiser", lambda word: word and White(multiple=int(word)))


def pixels(path):
    return np.asarray(Image.open(path))


def test_a_photograph_there_and_back(photo, tmp_path):
    said = harness("encode", photo, "quality=40", "downsample=2", "--codec", "webp").stdout
    file = tmp_path / "photo.mhc"
    size = file.stat().st_size
    assert f"{file}: {photo} of 63 x 45 pixels, by webp" in said
    assert f"{size:,} bytes" in said and f"{8 * size / (63 * 45):.3g} bits a pixel" in said
    back = harness("decode", file, "--original", photo).stdout
    decoded = tmp_path / "photo.decoded.png"
    error = np.square(pixels(decoded).astype(float) - pixels(photo)).mean()
    assert f"{10 * np.log10(255**2 / error):.2f} dB" in said
    assert f"{10 * np.log10(255**2 / error):.2f} dB" in back
    assert pixels(decoded).shape == (45, 63, 3)


@pytest.mark.parametrize("codec", ["ddcm", "matching_pursuit", "turbo", "diffc", "allocated"])
def test_a_diffusion_codec_needs_the_file_and_the_denoiser_alone(photo, tmp_path, white, codec):
    done = here("encode", photo, "steps=12", "--codec", codec, "--denoiser", 4, "--json")
    assert done.exit_code == OK, done.stderr
    told = json.loads(done.stdout)
    file = tmp_path / "photo.mhc"
    assert told["file_bytes"] == file.stat().st_size
    assert told["payload_bytes"] == -(-told["payload_bits"] // 8)
    assert told["payload_bits_per_pixel"] == pytest.approx(8 * told["payload_bytes"] / (63 * 45))
    photo.rename(tmp_path / "away.png")
    back = json.loads(here("decode", file, "--denoiser", 4, "--original", tmp_path / "away.png", "--json").stdout)
    assert back["codec"] == codec
    assert back["fields"]["steps"] == 12
    assert back["psnr"] == told["psnr"]
    assert back["payload_bytes"] == told["payload_bytes"]
    assert back["warning"] == ""


def refused(*arguments, code=USAGE):
    done = here(*arguments)
    assert done.exit_code == code, done.output
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    return done.stderr


def test_a_file_that_is_not_right_gives_a_sentence_and_no_picture(photo, tmp_path, white):
    file = tmp_path / "photo.mhc"
    assert here("encode", photo, "steps=4", "--codec", "ddcm", "--denoiser", 4).exit_code == OK
    whole = file.read_bytes()
    assert "made with denoiser" in refused("decode", file, "--denoiser", 2, code=INTEGRITY)
    assert "needs the denoiser that the file was made with" in refused("decode", file)
    file.write_bytes(whole[:-7])
    assert f"{file}: it is cut off" in refused("decode", file, "--denoiser", 4, code=INTEGRITY)
    file.write_bytes(whole[:20] + b"\x99" + whole[21:])
    assert "was altered" in refused("decode", file, "--denoiser", 4, code=INTEGRITY)
    file.write_bytes(photo.read_bytes())
    assert "it is no file of `harness encode`" in refused("decode", file, "--denoiser", 4, code=INTEGRITY)
    assert "No such file" in refused("decode", tmp_path / "nowhere.mhc")
    assert "Is a directory" in refused("decode", tmp_path)
    file.write_bytes(whole)
    assert "63 x 45 pixels, more than the 100 allowed" in refused(
        "decode", file, "--denoiser", 4, "--most-pixels", 100, code=INTEGRITY
    )
    assert not list(tmp_path.glob("*.decoded.png"))


def test_another_numerics_class_is_said_beside_the_picture(photo, tmp_path, white, monkeypatch):
    from harness.codecs import coding

    assert here("encode", photo, "steps=4", "--codec", "ddcm", "--denoiser", 4).exit_code == OK
    monkeypatch.setattr(coding.environment, "numerics_class", lambda device: "torch 9, another machine")
    done = here("decode", tmp_path / "photo.mhc", "--denoiser", 4)
    assert done.exit_code == OK
    assert "within 80 dB of it" in done.stderr
    assert (tmp_path / "photo.decoded.png").exists()


def test_what_encode_refuses(photo, tmp_path):
    assert "'quality' is no KEY=VALUE, e.g. steps=50" in refused("encode", photo, "quality", "--codec", "webp")
    assert "'quality=[':1: not valid YAML" in refused("encode", photo, "quality=[", "--codec", "webp")
    assert "key 'quality'" in refused("encode", photo, "quality=much", "--codec", "webp")
    assert "unknown key of codec 'webp' 'qality'" in refused("encode", photo, "qality=3", "--codec", "webp")
    assert "unknown codec 'wepb'. Did you mean 'webp'?" in refused("encode", photo, "--codec", "wepb")
    assert "codec 'turbo' needs a denoiser" in refused("encode", photo)
    assert "No such file" in refused("encode", tmp_path / "nowhere.png", "--codec", "webp")
    assert "pixels, more than the 99 allowed" in refused(
        "encode", photo, "--codec", "webp", "--most-pixels", 99
    )
    photo.with_suffix(".txt").write_text("hello")
    assert "not an image that Pillow reads" in refused("encode", photo.with_suffix(".txt"), "--codec", "webp")


def test_nothing_is_written_over(photo, tmp_path):
    assert f"{photo}: is there already; give another file with --output" in refused(
        "encode", photo, "--codec", "webp", "--output", photo
    )
    assert here("encode", photo, "--codec", "webp", "--output", tmp_path / "a.mhc").exit_code == OK
    assert "is there already" in refused("decode", tmp_path / "a.mhc", "--output", photo)
    other = tmp_path / "other.png"
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(other)
    assert f"{other}: has 2 x 2 pixels where" in refused("decode", tmp_path / "a.mhc", "--original", other)
    assert not (tmp_path / "a.decoded.png").exists()


def test_notes_say_what_was_done_to_the_image(tmp_path):
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "grey.png")
    done = here("encode", tmp_path / "grey.png", "--codec", "webp")
    assert "grey.png: it is grey and becomes three equal channels" in done.stderr

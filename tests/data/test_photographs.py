"""The photographs in the wheels: there, whole, held out once each, and cropped as a function of seed and step."""

import numpy as np
import pytest

from harness.data import photographs
from harness.data.photographs import FOLDS, PHOTOGRAPHS, WHEELS, Crops
from harness.errors import DataError, UnknownNameError
from harness.streams import Streams


def test_every_photograph_is_in_its_wheel_and_has_its_pixels():
    assert len(PHOTOGRAPHS) == 11
    for p in PHOTOGRAPHS:
        found = photographs.pixels(p)
        assert found.shape == (*p.size, 3) and found.dtype == np.uint8
        assert found.std() > 10
    assert sum(p.natural for p in PHOTOGRAPHS) == 8


def test_each_is_held_out_once_and_never_trained_on_by_its_fold():
    assert sorted(p.name for f in FOLDS for p in photographs.held_out(f)) == sorted(p.name for p in PHOTOGRAPHS)
    for fold in FOLDS:
        assert not set(photographs.held_out(fold)) & set(photographs.training(fold))
        assert set(photographs.held_out(fold)) | set(photographs.training(fold)) == set(PHOTOGRAPHS)
        assert sum(p.natural for p in photographs.held_out(fold)) == 4
    with pytest.raises(UnknownNameError, match=r"unknown fold 'c'\..*Valid: a, b"):
        photographs.held_out("c")


def changed(photograph, **fields):
    import dataclasses

    return dataclasses.replace(photograph, **fields)


def test_what_is_missing_or_other_is_said_with_its_cure(monkeypatch):
    cat = next(p for p in PHOTOGRAPHS if p.name == "chelsea")
    with pytest.raises(DataError, match=r"chelsea.png: its pixels are not those of photograph 'chelsea' \(digest "
                                        r"2a48da897e30584d, expected 0.*install scikit-image and pillow"):
        photographs.pixels(changed(cat, digest="0" * 16))
    with pytest.raises(DataError, match=r"'chelsea': scikit-image is installed without data/dog.png"):
        photographs.pixels(changed(cat, file="data/dog.png"))
    with pytest.raises(DataError, match=r"README.txt: cannot be read as an image"):
        photographs.pixels(changed(cat, file="data/README.txt"))
    monkeypatch.setitem(WHEELS, "no_such_package", "no-such-wheel")
    with pytest.raises(DataError, match="'chelsea' lies in the wheel of no-such-wheel, which is not installed; run "
                                        "pip install no-such-wheel"):
        photographs.pixels(changed(cat, package="no_such_package"))
    with pytest.raises(DataError, match="has 300 pixels on its shorter side, not 301; give 1 to 300"):
        photographs.reduced(cat, 301)


def test_a_changed_pixel_changes_the_digest():
    cat = photographs.pixels(PHOTOGRAPHS[1])
    other = cat.copy()
    other[7, 9, 1] ^= 1
    assert photographs.pixel_digest(other) != photographs.pixel_digest(cat)
    assert photographs.pixel_digest(cat.transpose(1, 0, 2)) != photographs.pixel_digest(cat)


def test_the_wheels_are_pinned():
    from pathlib import Path

    import harness

    pinned = (Path(harness.__file__).parents[1] / "constraints.txt").read_text(encoding="utf-8").lower()
    for wheel in [*WHEELS.values(), "pillow"]:
        assert f"\n{wheel}==" in pinned


def test_a_square_is_the_middle_of_the_whole():
    for p in PHOTOGRAPHS:
        assert photographs.square(p, 32).shape == (32, 32, 3)
    cat = next(p for p in PHOTOGRAPHS if p.name == "chelsea")
    whole = photographs.reduced(cat, 30)
    assert whole.shape == (30, 45, 3)
    assert np.array_equal(photographs.square(cat, 30), whole[:, 7:37])


def test_crops_hang_on_seed_and_step_alone():
    photos = photographs.training("a")
    crops, again = Crops(photos, [48, 64], 32), Crops(photos, [48, 64], 32)
    streams = Streams(0, "")
    later = crops.drawn(streams, 5, 4)
    crops.drawn(streams, 6, 4)
    assert np.array_equal(later, again.drawn(Streams(0, ""), 5, 4))
    assert np.array_equal(later[:2], crops.drawn(streams, 5, 2))
    assert not np.array_equal(later, crops.drawn(streams, 6, 4))
    assert not np.array_equal(later, crops.drawn(Streams(1, ""), 5, 4))


def test_crops_are_parts_of_their_photographs_and_reach_every_edge():
    photo = PHOTOGRAPHS[0]
    image, crops = photographs.reduced(photo, 10), Crops([photo], [10], 8)
    windows = [image[i : i + 8, j : j + 8][:, ::turn] for i in range(3) for j in range(3) for turn in (1, -1)]
    seen = {
        next(i for i, w in enumerate(windows) if np.array_equal(w, crop))
        for crop in crops.drawn(Streams(0, ""), 0, 300)
    }
    assert seen == set(range(len(windows)))


def test_the_two_colours_of_tiles_share_no_pixel_and_leave_no_whole_square():
    photo = next(p for p in PHOTOGRAPHS if p.name == "chelsea")
    crops, image = Crops([photo], [40], 16), photographs.reduced(photo, 40)
    black, white = crops.tiles(0), crops.tiles(1)
    assert len(black) + len(white) == (40 // 16) * (60 // 16)
    assert np.array_equal(black[0], image[:16, :16]) and np.array_equal(white[0], image[:16, 16:32])
    with pytest.raises(DataError, match="crops of 50 pixels do not fit a side of 40; valid: up to 40"):
        Crops([photo], [40], 50)

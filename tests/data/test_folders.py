"""Files below a folder, links followed, and sources that changed without showing it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import data
from harness.data.folders import files_below, matches, split_named
from harness.errors import DataError
from tests.data import pictures
from tests.data.texts import documents, lines


def fill(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def below(root: Path, pattern: str | None = None) -> list[str]:
    return [f.relative_to(root).as_posix() for f in files_below(root, pattern)]


def test_folders_that_are_links_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "disk", ["more/c.txt", "d.txt"])
    root = fill(tmp_path / "root", ["a.txt", "own/b.txt", ".hidden/e.txt", ".f.txt"])
    (root / "linked").symlink_to(tmp_path / "disk")
    (root / "file.txt").symlink_to(tmp_path / "disk" / "d.txt")
    assert below(root) == ["a.txt", "file.txt", "linked/d.txt", "linked/more/c.txt", "own/b.txt"]


@pytest.mark.parametrize("target", [".", "..", "own", "own/deep"])
def test_a_link_to_what_is_there_already_adds_nothing(tmp_path: Path, target: str) -> None:
    root = fill(tmp_path / "root", ["own/b.txt", "own/deep/c.txt"])
    fill(tmp_path, ["beside.txt"])
    (root / "a_link").symlink_to(root / target)
    (root / "own" / "deep" / "another").symlink_to(root / target)
    assert below(root) == ["own/b.txt", "own/deep/c.txt"]


def test_links_to_one_folder_give_its_files_once(tmp_path: Path) -> None:
    fill(tmp_path / "disk", ["a.txt"])
    root = fill(tmp_path / "root", [])
    root.mkdir()
    for name in ("one", "two"):
        (root / name).symlink_to(tmp_path / "disk")
    assert below(root) == ["one/a.txt"]


def test_a_link_that_leads_nowhere_is_named_where_it_was_wanted(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", ["a.txt"])
    (root / "b.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"root/b\.txt: a link to .*gone, which is not there; mend or remove"):
        files_below(root)
    assert below(root, "a.*") == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", ["a.txt", "shut/b.txt"])
    (root / "shut").chmod(0)
    with pytest.raises(DataError, match="shut: not readable"):
        files_below(root)


NAMES = st.sampled_from(["a", "b.py", "ab.py", "c.txt"])


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=6),
       st.lists(st.sampled_from(["**", "*", "*.py", "a*", "?.py", "[bc].*"]), min_size=1, max_size=3))  # fmt: skip
def test_patterns_choose_what_a_glob_of_the_library_chooses(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[str]], pattern: list[str]
) -> None:
    pattern = [*pattern, "*"] if pattern[-1] == "**" else pattern  # It alone chooses folders.
    root = tmp_path_factory.mktemp("root")
    for parts in paths:
        place = root.joinpath(*parts)
        if not any(p.is_file() for p in place.parents) and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("")
    expected = sorted(f.relative_to(root).as_posix() for f in set(root.glob("/".join(pattern))) if f.is_file())
    assert below(root, "/".join(pattern)) == expected


def test_a_pattern_matches_whole_names() -> None:
    assert matches(("a", "b.py"), "**/*.py") and matches(("b.py",), "**/*.py") and matches(("b.py",), "./*.py")
    assert not matches(("a", "b.py"), "*.py") and not matches(("b.pyc",), "*.py") and not matches((), "*")


@pytest.mark.parametrize(("name", "split"), [
    ("train.bin", "train"), ("val.bin", "validation"), ("fineweb_val_000000.bin", "validation"),
    ("validation-00000-of-00001.bin", "validation"), ("test.bin", "test"), ("val/000001.bin", "validation"),
    ("shakespeare.bin", "train"), ("interval.bin", "train"), ("testament.bin", "train"),
    ("valid_3.bin", "validation"),
])  # fmt: skip
def test_names_say_the_split(name: str, split: str) -> None:
    assert split_named(Path("test"), Path("test") / name) == split


def test_a_text_behind_a_link_is_in_the_corpus(tmp_path: Path) -> None:
    own, other = lines(40_000, 1), lines(40_000, 2)
    (tmp_path / "root").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "root" / "a.txt").write_text(own)
    (tmp_path / "disk" / "b.txt").write_text(other)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "disk")
    corpus = data.load({"path": str(tmp_path / "root"), "split_by": "position"}, tmp_path / "d")
    assert b"".join(corpus.split(s).tobytes() for s in data.SPLITS).decode() == f"{own}\0{other}\0"


def test_pictures_behind_a_link_are_in_the_set(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path / "photos")
    (root / "cat").rename(tmp_path / "cats")
    (root / "cat").mkdir()
    (root / "cat" / "deeper").symlink_to(tmp_path / "cats")
    spec = {"format": "images", "path": str(root), "size": 8}
    assert data.load(spec, tmp_path / "d").about["files"] == len(list(root.glob("*/*.png"))) + len(
        list((tmp_path / "cats").iterdir())
    )


# --- changed, and looking unchanged ------------------------------------------------------------------------


def rewrite(file: Path, content: str) -> None:
    """Other content of the same size, and the time of writing set back."""
    before = file.stat()
    assert len(content.encode()) == before.st_size
    file.write_text(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_text_changed_at_equal_size_and_time_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "my.txt"
    file.write_text("a" * 60_000)
    spec = {"path": str(file)}
    first = data.digest(spec, tmp_path / "d")
    rewrite(file, "b" * 60_000)
    assert data.load(spec, tmp_path / "d").split("train")[0] == ord("b")
    assert data.digest(spec, tmp_path / "d") != first


def test_a_file_of_a_folder_replaced_by_one_that_looks_like_it_is_read_again(tmp_path: Path) -> None:
    root = tmp_path / "texts"
    root.mkdir()
    for i, text in enumerate(documents(200)):
        (root / f"{i:03}.txt").write_text(text)
    first = data.digest({"path": str(root)}, tmp_path / "d")
    file = root / "100.txt"
    rewrite(file, file.read_text()[::-1])
    assert data.digest({"path": str(root)}, tmp_path / "d") != first


def test_what_an_earlier_version_built_from_a_source_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data import build

    file = tmp_path / "my.txt"
    file.write_text(lines(60_000))
    spec = {"path": str(file)}
    monkeypatch.setattr("harness.data.folders.READING", 1)
    earlier = build.source_state(build.parse(spec))
    monkeypatch.undo()
    assert build.source_state(build.parse(spec)) != earlier

"""A corpus is hashed once a run; from then on a touched file is enough to refuse it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import data
from harness.data import integrity
from harness.data.integrity import Stamp, check, members, stamp, stamps, verify
from harness.errors import DataError
from tests.data.texts import lines


@pytest.fixture
def corpus(tmp_path: Path) -> data.Corpus:
    file = tmp_path / "my.txt"
    file.write_text(lines(60_000))
    return data.load({"path": str(file)}, tmp_path / "d")


def flip(file: Path) -> None:
    """One bit, size and time as they were."""
    before, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_stamp_holds_digest_size_time_and_inode_of_each_file(corpus: data.Corpus, tmp_path: Path) -> None:
    made = stamp(tmp_path / "d", corpus.digest)
    assert made.digest == corpus.digest
    assert [name for name, *_ in made.files] == members(corpus.meta)
    now = (corpus.path / "train.bin").stat()
    assert ("train.bin", now.st_size, now.st_mtime_ns, now.st_ino) in made.files
    check(tmp_path / "d", made)


def test_checking_a_stamp_reads_no_byte(
    corpus: data.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stamp(tmp_path / "d", corpus.digest)

    def fail(*_: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(integrity, "digest_of_file", fail)
    monkeypatch.setattr(Path, "open", fail)
    check(tmp_path / "d", made)


def test_a_flipped_bit_is_found_when_it_is_stamped_although_nothing_shows_it(
    corpus: data.Corpus, tmp_path: Path
) -> None:
    flip(corpus.path / "train.bin")
    assert data.open_corpus(tmp_path / "d", corpus.digest)
    with pytest.raises(DataError, match=r"train\.bin: altered: its SHA-256 is not the recorded.*remove .*build"):
        stamp(tmp_path / "d", corpus.digest)


@pytest.mark.parametrize("name", ["train.bin", "meta.json"])
def test_a_file_that_was_touched_since_is_refused(corpus: data.Corpus, tmp_path: Path, name: str) -> None:
    made, file = stamp(tmp_path / "d", corpus.digest), corpus.path / name
    whole = file.read_bytes()
    os.utime(file, ns=(1, 1))
    with pytest.raises(DataError, match=rf"{name}: touched since this run read it through; run again"):
        check(tmp_path / "d", made)
    made = stamp(tmp_path / "d", corpus.digest)
    before = file.stat()
    file.unlink()
    with pytest.raises(DataError, match=rf"{name}: No such file or directory since this run began"):
        check(tmp_path / "d", made)
    # The same bytes with the same time in another file: its inode tells.
    beside = file.with_name("beside")
    beside.write_bytes(whole)
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    made = Stamp(digest=made.digest, files=((name, before.st_size, before.st_mtime_ns, beside.stat().st_ino + 1),))
    beside.rename(file)
    with pytest.raises(DataError, match="touched since"):
        check(tmp_path / "d", made)


def test_corpora_that_are_not_built_yet_have_no_stamp(corpus: data.Corpus, tmp_path: Path) -> None:
    made = stamps(tmp_path / "d", ["", "0" * 64, corpus.digest, corpus.digest])
    assert [s.digest for s in made] == [corpus.digest]


def test_a_link_to_the_same_tokens_is_no_file_of_a_corpus(corpus: data.Corpus, tmp_path: Path) -> None:
    file = corpus.path / "test.bin"
    file.rename(tmp_path / "test.bin")
    file.symlink_to(tmp_path / "test.bin")
    with pytest.raises(DataError, match=r"test\.bin: a symbolic link"):
        verify(corpus)

"""harness data list, build, export, import."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import data
from harness.data import commands
from harness.errors import DataError
from harness.files import sealed, unsealed
from tests.data.texts import lines, write_tokens


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "my.txt"
    file.write_text(lines(60_000))
    return file


def test_build_reports_progress_up_to_the_end(text: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    commands.build({"path": str(text)}, tmp_path / "d", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (text.stat().st_size, text.stat().st_size)


def test_list_names_what_is_built_and_what_is_damaged(text: Path, tmp_path: Path) -> None:
    assert commands.list_corpora(tmp_path / "d") == []
    corpus = commands.build({"path": str(text)}, tmp_path / "d")
    tokens = write_tokens(tmp_path / "t.bin", __import__("numpy").arange(50_000) % 99)
    bare = commands.build({"path": str(tokens)}, tmp_path / "d")
    first, second = commands.list_corpora(tmp_path / "d")
    assert (first["name"], first["digest"], first["state"]) == ("my.txt", corpus.digest, "built")
    assert first["tokens"] == {s: corpus.num_tokens(s) for s in data.SPLITS}
    assert second["bytes_per_token"] is None
    json.dumps([first, second], allow_nan=False)
    (bare.path / "train.bin").unlink()
    damaged = next(r for r in commands.list_corpora(tmp_path / "d") if r["digest"] == bare.digest)
    assert damaged["state"].startswith("damaged: ") and "train.bin: missing" in damaged["state"]


@pytest.mark.parametrize("extra", [{}, {"tokenizer": "bpe", "vocab_size": 300}])
def test_an_archive_carries_a_corpus_to_a_machine_without_its_source(
    text: Path, tmp_path: Path, extra: dict[str, object]
) -> None:
    text.write_text(lines(200_000))
    spec = {"path": str(text), **extra}
    exported = commands.export(spec, tmp_path / "d", tmp_path / "out" / "corpus.tar.xz")
    text.unlink()
    shutil.rmtree(tmp_path / "d")
    imported = commands.import_(tmp_path / "out" / "corpus.tar.xz", tmp_path / "e")
    assert imported.digest == exported.digest and imported.about == exported.about
    commands.verify(imported)
    assert data.digest(spec, tmp_path / "e") == exported.digest
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["corpus.tar.xz"]
    assert not list((tmp_path / "e" / "building").iterdir())
    # A second import changes nothing.
    assert commands.import_(tmp_path / "out" / "corpus.tar.xz", tmp_path / "e").digest == exported.digest


def test_export_by_digest(text: Path, tmp_path: Path) -> None:
    corpus = commands.build({"path": str(text)}, tmp_path / "d")
    assert commands.export(corpus.digest[:12], tmp_path / "d", tmp_path / "x.tar.xz").digest == corpus.digest
    with pytest.raises(DataError, match=f"starts with 'ffffffff'.*{corpus.digest[:12]}"):
        commands.export("ffffffff", tmp_path / "d", tmp_path / "x.tar.xz")


def test_export_refuses_an_altered_corpus(text: Path, tmp_path: Path) -> None:
    corpus = commands.build({"path": str(text)}, tmp_path / "d")
    file = corpus.path / "validation.bin"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(DataError, match=r"validation\.bin: altered: its SHA-256"):
        commands.export({"path": str(text)}, tmp_path / "d", tmp_path / "x.tar.xz")
    assert not (tmp_path / "x.tar.xz").exists()


Members = list[tuple[tarfile.TarInfo, bytes]]


def rewritten(file: Path, change: Callable[[Members], Members]) -> Path:
    """The archive with its members changed."""
    with tarfile.open(file) as archive:
        members = [(m, archive.extractfile(m).read()) for m in archive.getmembers()]  # type: ignore[union-attr]
    out = file.with_name("changed.tar.xz")
    with tarfile.open(out, "w:xz") as archive:
        for member, content in change(members):
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return out


def set_content(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    return lambda members: [(m, edit(c) if m.name == name else c) for m, c in members]


def renamed(old: str, new: str) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        for member, _ in members:
            if member.name == old:
                member.name = new
        return members
    return change


def linked(members: Members) -> Members:
    for member, _ in members:
        if member.name == "train.bin":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return members


def with_extra(members: Members) -> Members:
    return [*members, (tarfile.TarInfo("../evil"), b"x")]


def edit_json(**changes: object) -> Callable[[bytes], bytes]:
    """Another value under a checksum that fits."""
    return lambda text: sealed({**unsealed(text), **changes}).encode()


@pytest.mark.parametrize(("change", "message"), [
    (set_content("test.bin", lambda c: b"x" + c[1:]), r"test\.bin was altered: its SHA-256"),
    (set_content("test.bin", lambda c: c + b"x"), r"test\.bin has [\d,]+ bytes, not what"),
    (set_content("meta.json", edit_json(vocab_size=300)), "altered: its content is not that of corpus"),
    (set_content("meta.json", edit_json(digest="../../x")), "altered"),
    (set_content("meta.json", edit_json(dtype="object")), "not a corpus"),
    (set_content("meta.json", lambda c: c.replace(b"my.txt", b"me.txt")), r"meta\.json: its content is not what"),
    (set_content("index.json", lambda c: c[:-2]), r"index\.json: it is cut off"),
    (set_content("meta.json", lambda c: b"{"), r"meta\.json: it is not JSON"),
    (set_content("meta.json", lambda c: b"[]"), r"meta\.json: it is not an object"),
    (set_content("index.json", edit_json(state="../../x")), r"index\.json is malformed"),
    (set_content("index.json", edit_json(spec={"pth": "x"})), "unknown key 'pth'"),
    (renamed("train.bin", "../train.bin"), r"unexpected member '\.\./train\.bin', train\.bin expected"),
    (renamed("index.json", "/tmp/index.json"), r"unexpected member '/tmp/index\.json'"),
    (linked, r"unexpected member 'train\.bin' \(not a plain file\)"),
    (with_extra, r"unexpected member '\.\./evil'"),
    (lambda members: members[:-1], r"cut off: test\.bin is missing"),
])
def test_archives_that_were_altered_are_refused_and_leave_nothing(
    text: Path, tmp_path: Path, change: Callable[[Members], Members], message: str
) -> None:
    commands.export({"path": str(text)}, tmp_path / "d", tmp_path / "x.tar.xz")
    changed = rewritten(tmp_path / "x.tar.xz", change)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Exception, match=message) as caught:
        commands.import_(changed, tmp_path / "e")
    assert type(caught.value).__module__ == "harness.errors"
    left = [p for p in tmp_path.rglob("*") if p not in before and p.is_file()]
    assert left == []


def test_what_is_no_whole_archive_is_refused(text: Path, tmp_path: Path) -> None:
    commands.export({"path": str(text)}, tmp_path / "d", tmp_path / "x.tar.xz")
    whole = (tmp_path / "x.tar.xz").read_bytes()
    for content in (whole[: len(whole) // 2], b"not an archive", b"", whole[:2000] + b"\0\1\2" + whole[2003:]):
        (tmp_path / "y.tar.xz").write_bytes(content)
        with pytest.raises(DataError, match=r"y\.tar\.xz"):
            commands.import_(tmp_path / "y.tar.xz", tmp_path / "e")
    assert commands.list_corpora(tmp_path / "e") == []
    with pytest.raises(DataError, match=r"none\.tar\.xz: no such file"):
        commands.import_(tmp_path / "none.tar.xz", tmp_path / "e")

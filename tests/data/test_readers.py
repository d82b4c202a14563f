"""The user's data: every format, how it is split, and what its errors say."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import data
from harness.data.build import split_of
from harness.data.documents import checked_utf8, cut_after, of_text
from harness.errors import DataError
from tests.data.texts import documents, jsonl, lines


def texts(corpus: data.Corpus, split: str) -> list[str]:
    return corpus.split(split).tobytes().decode().split("\0")[:-1]


def everything(corpus: data.Corpus) -> list[str]:
    return sorted(t for s in data.SPLITS for t in texts(corpus, s))


def table(file: Path, values: list[Any], column: str = "text", kind: Any = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    numbers = list(range(len(values)))
    parquet.write_table(arrow.table({"id": numbers, column: arrow.array(values, kind)}), file)
    return file


# --- one content, many formats -----------------------------------------------------------------------------

DOCUMENTS = documents(300)


def test_rows_and_files_with_the_same_texts_give_the_same_corpus(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, text in enumerate(DOCUMENTS):
        (folder / f"{i:04}.txt").write_text(text)
    specs: list[dict[str, Any]] = [
        {"path": str(folder)},
        {"path": str(jsonl(tmp_path / "a.jsonl", [{"text": d} for d in DOCUMENTS]))},
        {"path": str(jsonl(tmp_path / "b.jsonl", [{"x": 1, "body": d} for d in DOCUMENTS])), "field": "body"},
        {"path": str(table(tmp_path / "a.parquet", DOCUMENTS))},
        {"path": str(table(tmp_path / "b.parquet", DOCUMENTS, "body", arrow.large_string())), "column": "body"},
        {"path": str(table(tmp_path / "c.parquet", DOCUMENTS, kind=arrow.string_view()))},
        {"path": str(table(tmp_path / "d.parquet", DOCUMENTS,
                           kind=arrow.dictionary(arrow.int32(), arrow.string())))},
    ]
    corpora = [data.load(spec, tmp_path / "d") for spec in specs]
    assert len({c.digest for c in corpora}) == 1
    assert everything(corpora[0]) == sorted(DOCUMENTS)
    assert sum(corpora[1].about["documents"].values()) == 300


def zstandard(text: bytes) -> bytes:
    """In two frames, as programs that work in parallel leave it."""
    out = b""
    for part in (text[: len(text) // 2], text[len(text) // 2 :]):
        sink = arrow.BufferOutputStream()
        with arrow.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(part)
        out += sink.getvalue().to_pybytes()
    return out


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard}


@pytest.mark.parametrize("suffix", PACKERS)
def test_compressed_files_give_the_corpus_of_what_they_hold(tmp_path: Path, suffix: str) -> None:
    rows = jsonl(tmp_path / "rows", [{"text": d} for d in DOCUMENTS]).read_bytes()
    plain = {"my.txt": lines(60_000).encode(), "my.jsonl": rows}
    for name, content in plain.items():
        (tmp_path / name).write_bytes(content)
        packed = tmp_path / "packed" / f"{name}{suffix}"
        packed.parent.mkdir(exist_ok=True)
        packed.write_bytes(PACKERS[suffix](content))
        expected = data.load({"path": str(tmp_path / name)}, tmp_path / "d")
        found = data.load({"path": str(packed)}, tmp_path / "d")
        assert found.digest == expected.digest
        in_folder = data.load({"path": str(packed.parent), "split_by": expected.about["split_by"]}, tmp_path / "d")
        assert in_folder.digest == expected.digest
        packed.write_bytes(packed.read_bytes()[:-20])
        assert f"{packed}: not readable (" in failure({"path": str(packed)}, tmp_path / "empty")
        packed.unlink()


def test_a_suffix_of_compression_speaks_of_texts_alone(tmp_path: Path) -> None:
    for name in ("t.gz", "t.bin.gz", "t.parquet.zst"):
        (tmp_path / name).write_bytes(b"x")
        assert "unknown suffix" in failure({"path": str(tmp_path / name)}, tmp_path / "d")
    (tmp_path / "t.gz").write_bytes(gzip.compress(lines(60_000).encode()))
    assert data.load({"path": str(tmp_path / "t.gz"), "format": "text"}, tmp_path / "d").vocab_size == 256


def test_documents_go_to_a_split_by_content_whatever_their_order(tmp_path: Path) -> None:
    forward = data.load({"path": str(jsonl(tmp_path / "f.jsonl", [{"text": d} for d in DOCUMENTS]))}, tmp_path)
    backward = data.load(
        {"path": str(jsonl(tmp_path / "b.jsonl", [{"text": d} for d in reversed(DOCUMENTS)]))}, tmp_path
    )
    for split in data.SPLITS:
        assert sorted(texts(forward, split)) == sorted(texts(backward, split))


def test_equal_documents_stay_in_one_split(tmp_path: Path) -> None:
    corpus = data.load({"path": str(jsonl(tmp_path / "f.jsonl", [{"text": d} for d in DOCUMENTS * 2]))}, tmp_path)
    sets = [set(texts(corpus, s)) for s in data.SPLITS]
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]


def test_equal_documents_are_counted_and_left_out_where_asked(tmp_path: Path) -> None:
    twice = jsonl(tmp_path / "f.jsonl", [{"text": d} for d in [*DOCUMENTS, *DOCUMENTS[:40]]])
    held = jsonl(tmp_path / "h.jsonl", [{"text": d} for d in documents(10, 700) * 3])
    spec = {"path": str(twice), "validation": str(held)}
    kept = data.load(spec, tmp_path / "d")
    assert len(everything(kept)) == 340 + 30
    assert (kept.about["repeated"], kept.about["validation"]["repeated"]) == (40, 20)
    dropped = data.load({**spec, "duplicates": "drop"}, tmp_path / "d")
    assert everything(dropped) == sorted([*DOCUMENTS, *documents(10, 700)])
    counts = [about["dropped"]["duplicates"] for about in (dropped.about, dropped.about["validation"])]
    assert counts == [40, 20]
    by_position = data.load({"path": str(twice), "duplicates": "drop", "split_by": "position"}, tmp_path / "d")
    assert everything(by_position) != everything(dropped) and by_position.about["dropped"] == {"duplicates": 40}


def test_a_share_of_documents_is_held_out() -> None:
    found = [split_of(of_text(str(i).encode()).sha256, validation=0.05, test=0.1) for i in range(20_000)]
    # Five standard deviations of a binomial.
    assert abs(found.count("test") / 20_000 - 0.1) < 0.0106
    assert abs(found.count("validation") / 20_000 - 0.05) < 0.0077


def test_one_text_file_is_split_by_position_at_line_ends(tmp_path: Path) -> None:
    text = lines(80_000)
    (tmp_path / "my.txt").write_text(text)
    corpus = data.load({"path": str(tmp_path / "my.txt"), "test_share": 0.1}, tmp_path / "d")
    parts = [corpus.split(s).tobytes() for s in data.SPLITS]
    assert b"".join(parts) == text.encode() + b"\0"
    assert parts[0].endswith(b"\n") and parts[1].endswith(b"\n")
    total = len(text.encode()) + 1
    assert abs(len(parts[0]) / total - 0.87) < 0.002 and abs(len(parts[2]) / total - 0.1) < 0.002
    assert corpus.about["split_by"] == "position"


@pytest.mark.parametrize("share", ["validation", "test"])
def test_splits_of_their_own_leave_the_source_whole(tmp_path: Path, share: str) -> None:
    main, own = lines(80_000), lines(5_000, seed=9)
    (tmp_path / "main.txt").write_text(main)
    (tmp_path / "own.txt").write_text(own)
    corpus = data.load({"path": str(tmp_path / "main.txt"), share: str(tmp_path / "own.txt")}, tmp_path / "d")
    assert texts(corpus, share) == [own]
    other = "test" if share == "validation" else "validation"
    assert corpus.split("train").tobytes() + corpus.split(other).tobytes() == main.encode() + b"\0"
    # Editing the split's file is noticed.
    (tmp_path / "own.txt").write_text(own + "more\n")
    again = data.load({"path": str(tmp_path / "main.txt"), share: str(tmp_path / "own.txt")}, tmp_path / "d")
    assert texts(again, share) == [own + "more\n"]


@pytest.mark.parametrize("share", ["validation", "test"])
def test_a_file_that_is_held_out_of_its_folder_is_not_trained_on(tmp_path: Path, share: str) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, text in enumerate(DOCUMENTS):
        (folder / f"{i:03}.txt").write_text(text)
    own = lines(5_000, seed=9)
    (folder / "own.txt").write_text(own)
    spec = {"path": str(folder), "pattern": "*.txt", share: str(folder / "own.txt")}
    corpus = data.load(spec, tmp_path / "d")
    assert texts(corpus, share) == [own]
    assert everything(corpus) == sorted([*DOCUMENTS, own])
    with pytest.raises(DataError, match="all of its files are held out"):
        data.load({"path": str(folder), "validation": str(folder)}, tmp_path / "d")


def test_folder_pattern_and_hidden_files(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    (folder / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    for i, text in enumerate(DOCUMENTS):
        (folder / "deep" / f"{i}.py").write_text(text)
    (folder / ".git" / "x.py").write_text("hidden " * 100)
    (folder / "other.txt").write_text("other " * 100)
    corpus = data.load({"path": str(folder), "pattern": "**/*.py", "format": "text"}, tmp_path / "d")
    assert everything(corpus) == sorted(DOCUMENTS)
    assert corpus.about["files"] == 300


def test_a_large_text_file_is_never_in_memory(tmp_path: Path) -> None:
    line = lines(1 << 16).encode()
    with (tmp_path / "large.txt").open("wb") as out:
        for _ in range(384):
            out.write(line)
    size = (tmp_path / "large.txt").stat().st_size
    (tmp_path / "warm.txt").write_text(lines(60_000))  # Imports are not counted.
    data.load({"path": str(tmp_path / "warm.txt")}, tmp_path / "d")
    tracemalloc.start()
    corpus = data.load({"path": str(tmp_path / "large.txt")}, tmp_path / "d")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(corpus.num_tokens(s) for s in data.SPLITS) == size + 1
    assert peak < size / 2


# --- Hugging Face data sets --------------------------------------------------------------------------------


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def test_data_sets_of_the_hub_library(tmp_path: Path, hub_cache: None) -> None:
    table(tmp_path / "set" / "train.parquet", DOCUMENTS, "body")
    table(tmp_path / "set" / "validation.parquet", held := documents(10, 700), "body")
    spec = {"dataset": str(tmp_path / "set"), "column": "body"}
    corpus = data.load(spec, tmp_path / "d")
    assert everything(corpus) == sorted(DOCUMENTS)
    assert corpus.about["rows"] == 300 and corpus.name == "set"
    by_file = data.load({"path": str(tmp_path / "set" / "train.parquet"), "column": "body"}, tmp_path / "d")
    assert by_file.digest == corpus.digest
    own = data.load({**spec, "validation": "validation"}, tmp_path / "d")
    assert texts(own, "validation") == held
    with pytest.raises(DataError, match=r"no column 'text'; it has id, body; give column"):
        data.load({"dataset": str(tmp_path / "set")}, tmp_path / "d")
    with pytest.raises(DataError, match=r"column 'id' is int64, not text"):
        data.load({**spec, "column": "id"}, tmp_path / "d")
    with pytest.raises(DataError, match=r"split 'valid': ValueError: .*check name, subset and split"):
        data.load({**spec, "split": "valid"}, tmp_path / "d")


def test_data_sets_that_the_library_saved(tmp_path: Path, hub_cache: None) -> None:
    import datasets

    train = datasets.Dataset.from_dict({"text": DOCUMENTS})
    held = datasets.Dataset.from_dict({"text": documents(10, 700)})
    train.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": train, "held": held}).save_to_disk(tmp_path / "both")
    one = data.load({"dataset": str(tmp_path / "one")}, tmp_path / "d")
    assert everything(one) == sorted(DOCUMENTS)
    both = data.load({"dataset": str(tmp_path / "both"), "validation": "held"}, tmp_path / "d")
    assert texts(both, "validation") == documents(10, 700)
    for extra, message in [
        ({"split": "valid"}, r"no split 'valid'; it has train, held; give split"),
        ({"revision": "main"}, r"key 'revision' has no meaning for what save_to_disk wrote"),
    ]:
        with pytest.raises(DataError, match=message):
            data.load({"dataset": str(tmp_path / "both"), **extra}, tmp_path / "d")
    with pytest.raises(DataError, match=r"no split 'test': save_to_disk wrote one split alone; remove split"):
        data.load({"dataset": str(tmp_path / "one"), "split": "test"}, tmp_path / "d")
    with pytest.raises(DataError, match=r"both: a data set that save_to_disk wrote; give dataset: \S+both instead"):
        data.load({"path": str(tmp_path / "both")}, tmp_path / "d")
    # The library appends to nothing: a folder that was written anew holds other files.
    held.save_to_disk(tmp_path / "one")
    with pytest.raises(DataError, match="too small"):
        data.load({"dataset": str(tmp_path / "one")}, tmp_path / "d")


def test_without_the_library_data_sets_say_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs the datasets library; pip install 'method-harness\[datasets\]'"):
        data.load({"dataset": "some/name"}, tmp_path / "d")


# --- mistakes ----------------------------------------------------------------------------------------------


def write(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    return str(file)


def failure(spec: dict[str, Any], folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        data.load(spec, folder)
    assert not list(folder.glob("corpora/*")) and not list(folder.glob("building/*"))
    return str(caught.value)


def test_files_that_cannot_be_told(tmp_path: Path) -> None:
    d = tmp_path / "d"
    assert "no such file or folder" in failure({"path": str(tmp_path / "none.txt")}, d)
    assert "unknown suffix '.csv' (known: .bin" in failure({"path": write(tmp_path / "a.csv", b"x")}, d)
    assert "'pattern' chooses files of a folder" in failure(
        {"path": str(tmp_path / "a.csv"), "pattern": "*.txt"}, d)
    (tmp_path / "mixed").mkdir()
    assert "no file in this folder ends in one of" in failure({"path": str(tmp_path / "mixed")}, d)
    write(tmp_path / "mixed" / "a.txt", b"x")
    write(tmp_path / "mixed" / "a.jsonl", b"{}")
    assert "several formats (1 jsonl, 1 text); give format" in failure({"path": str(tmp_path / "mixed")}, d)
    assert "matches '*.py'" in failure({"path": str(tmp_path / "mixed"), "pattern": "*.py"}, d)


def test_empty_and_small_sources(tmp_path: Path) -> None:
    d = tmp_path / "d"
    assert "'e.txt': empty" in failure({"path": write(tmp_path / "e.txt", b"")}, d)
    assert "'e.jsonl': empty" in failure({"path": write(tmp_path / "e.jsonl", b'{"text": ""}\n')}, d)
    small = {"path": write(tmp_path / "s.txt", lines(10_000).encode())}
    assert "tokens in validation, at least 1,024 needed; give more text, a larger validation_share (now 0.03)" \
        in failure(small, d)
    main = write(tmp_path / "m.txt", lines(60_000).encode())
    own = write(tmp_path / "own.txt", b"short")
    assert f"6 tokens in test, at least 1,024 needed; give a larger test ({own})" \
        in failure({"path": main, "test": own}, d)


def test_keys_of_another_format(tmp_path: Path) -> None:
    d, text = tmp_path / "d", write(tmp_path / "a.txt", lines(60_000).encode())
    assert "key 'field' has no meaning for text" in failure({"path": text, "field": "x"}, d)
    assert "vocab_size is for tokenizer: bpe" in failure({"path": text, "vocab_size": 300}, d)
    assert "bytes_per_token is for bin files" in failure({"path": text, "bytes_per_token": 4}, d)
    rows = str(jsonl(tmp_path / "a.jsonl", [{"text": "x"}]))
    assert "key 'column' has no meaning for jsonl; jsonl has 'field'" in failure({"path": rows, "column": "x"}, d)


@pytest.mark.parametrize(("line", "message"), [
    (b"{'text': 1}", "a.jsonl:2: not JSON"),
    (b"[1]", "a.jsonl:2: a JSON list, not an object with the key 'text'"),
    (b'{"txt": "x", "id": 1}', "a.jsonl:2: no key 'text'; it has 'txt', 'id'; give field"),
    (b'{"text": 5}', "a.jsonl:2: 'text' is int, not text"),
    (b'{"text": "\xff"}', "a.jsonl:2: not UTF-8 at byte 10 (0xff)"),
    (b'{"text": "\\ud800"}', "a.jsonl:2: not UTF-8 at byte 0 (0xed)"),
])
def test_broken_rows_are_named_by_line(tmp_path: Path, line: bytes, message: str) -> None:
    path = write(tmp_path / "a.jsonl", b'{"text": "fine"}\n' + line + b"\n")
    assert message in failure({"path": path}, tmp_path / "d")


def test_broken_parquet(tmp_path: Path) -> None:
    d = tmp_path / "d"
    assert "not a readable Parquet file" in failure({"path": write(tmp_path / "x.parquet", b"PAR1 no")}, d)
    path = str(table(tmp_path / "y.parquet", DOCUMENTS, "body"))
    assert "no column 'text'; it has id, body; give column" in failure({"path": path}, d)
    assert "column 'id' is int64, not text" in failure({"path": path, "column": "id"}, d)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_is_not_readable_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", lines(60_000).encode())
    Path(path).chmod(0)
    assert "a.txt: not readable (Permission denied)" in failure({"path": path}, tmp_path / "d")


# --- UTF-8 -------------------------------------------------------------------------------------------------


def test_invalid_utf8_by_rule(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    for i, text in enumerate(DOCUMENTS):
        (folder / f"{i:04}.txt").write_text(text)
    (folder / "bad.txt").write_bytes(b"good \xff\xfe end")
    spec = {"path": str(folder)}
    assert "bad.txt: not UTF-8 at byte 5 (0xff); convert it" in failure(spec, tmp_path / "d")
    replaced = data.load({**spec, "invalid_utf8": "replace"}, tmp_path / "d")
    assert everything(replaced) == sorted([*DOCUMENTS, "good \ufffd\ufffd end"])
    assert replaced.about["documents_with_replacements"] == 1
    skipped = data.load({**spec, "invalid_utf8": "skip"}, tmp_path / "d")
    assert everything(skipped) == sorted(DOCUMENTS) and skipped.about["dropped"] == {"not UTF-8": 1}


def test_invalid_utf8_in_rows_by_rule(tmp_path: Path) -> None:
    bad = [b"bad \xff row" * 3, *[d.encode() for d in DOCUMENTS]]
    parquet.write_table(  # Arrow does not check what is called a string.
        arrow.table({"text": arrow.array(bad, arrow.binary()).view(arrow.string())}), tmp_path / "a.parquet"
    )
    spec = {"path": str(tmp_path / "a.parquet")}
    assert "a.parquet, row 0: not UTF-8 at byte 4 (0xff)" in failure(spec, tmp_path / "d")
    assert "bad \ufffd row" * 3 in everything(data.load({**spec, "invalid_utf8": "replace"}, tmp_path / "d"))
    assert everything(data.load({**spec, "invalid_utf8": "skip"}, tmp_path / "d")) == sorted(DOCUMENTS)


@given(st.text(max_size=40), st.lists(st.integers(1, 7), max_size=12))
def test_valid_text_passes_in_whole_characters_however_it_is_cut(text: str, sizes: list[int]) -> None:
    raw, pieces, place = text.encode("utf-8", "replace"), [], 0
    for size in sizes:
        pieces.append(raw[place : place + size])
        place += size
    pieces.append(raw[place:])
    out = list(checked_utf8(pieces, "error", "x"))
    assert b"".join(out) == raw
    for piece in out:
        piece.decode()


@given(st.binary(max_size=30), st.integers(1, 5), st.sampled_from(["error", "skip"]))
def test_the_offset_of_invalid_utf8_is_that_of_the_whole_text(raw: bytes, size: int, rule: str) -> None:
    pieces = [raw[i : i + size] for i in range(0, len(raw), size)]
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        with pytest.raises(DataError if rule == "error" else UnicodeDecodeError) as caught:
            list(checked_utf8(pieces, rule, "x"))
        if rule == "error":
            assert f"at byte {error.start:,} " in str(caught.value)
    else:
        assert b"".join(checked_utf8(pieces, rule, "x")) == raw


@given(st.text(alphabet="ab\né学", min_size=1, max_size=30), st.data())
def test_text_is_cut_between_characters_and_after_a_line_end(text: str, draw: st.DataObject) -> None:
    raw = text.encode()
    at = draw.draw(st.integers(0, len(raw)))
    cut = cut_after(raw, at)
    assert at <= cut <= len(raw)
    raw[:cut].decode(), raw[cut:].decode()
    if b"\n" in raw[at:]:
        assert raw[cut - 1 : cut] == b"\n" and b"\n" not in raw[at : cut - 1]

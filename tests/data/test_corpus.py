"""The built corpus: opening, damage, digests, several processes, machines without the source."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import data
from harness.data import build
from harness.errors import DataError, UnknownNameError
from harness.files import sealed, unsealed
from tests.data.texts import documents, lines, write_tokens


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "my.txt"
    file.write_text(lines(60_000))
    return file


def test_equal_content_gives_equal_digests_wherever_it_lies(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data.load({"path": str(text)}, tmp_path / "a")
    other = tmp_path / "elsewhere" / "renamed.txt"
    other.parent.mkdir()
    shutil.copy(text, other)
    monkeypatch.chdir(other.parent)
    second = data.load({"path": "renamed.txt"}, tmp_path / "a")
    assert first.digest == second.digest
    assert (first.name, second.name) == ("my.txt", "renamed.txt")
    assert len(list((tmp_path / "a" / "corpora").iterdir())) == 1


def test_a_second_load_builds_nothing(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = data.digest({"path": str(text)}, tmp_path / "d")

    def fail(*args: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(build, "Staging", fail)
    assert data.digest({"path": str(text), "tokenizer": "bytes", "name": "label"}, tmp_path / "d") == first


def test_a_changed_file_gives_another_corpus_and_the_old_one_stays(text: Path, tmp_path: Path) -> None:
    first = data.load({"path": str(text)}, tmp_path / "d")
    with text.open("a") as out:
        out.write("one more line\n")
    second = data.load({"path": str(text)}, tmp_path / "d")
    assert first.digest != second.digest
    assert data.open_corpus(tmp_path / "d", first.digest).num_tokens("train") == first.num_tokens("train")
    # The planned corpus is opened by its digest; one that the source no longer gives is refused.
    assert data.load({"path": str(text)}, tmp_path / "d", first.digest).digest == first.digest
    with pytest.raises(DataError, match=r"now gives corpus .* planned was 000000000000; .*plan again"):
        data.load({"path": str(text)}, tmp_path / "d", "0" * 64)


def test_a_built_corpus_outlives_its_source(text: Path, tmp_path: Path) -> None:
    spec = {"path": str(text)}
    first = data.digest(spec, tmp_path / "d")
    text.unlink()
    assert data.digest(spec, tmp_path / "d") == first
    shutil.rmtree(tmp_path / "d")
    with pytest.raises(DataError, match="no such file or folder"):
        data.digest(spec, tmp_path / "d")


def test_two_builds_of_a_source_that_is_gone_are_not_confused(text: Path, tmp_path: Path) -> None:
    spec = {"path": str(text)}
    data.digest(spec, tmp_path / "d")
    text.write_text(lines(50_000, seed=2))
    data.digest(spec, tmp_path / "d")
    text.unlink()
    with pytest.raises(DataError, match="several corpora were built from it"):
        data.digest(spec, tmp_path / "d")


def test_tokens_are_memory_mapped_and_read_only(text: Path, tmp_path: Path) -> None:
    corpus = data.load({"path": str(text)}, tmp_path / "d")
    train = corpus.split("train")
    assert isinstance(train, np.memmap) and train is corpus.split("train")
    sent = pickle.dumps(corpus)
    assert len(sent) < 4000
    np.testing.assert_array_equal(pickle.loads(sent).split("train"), train)
    with pytest.raises(ValueError, match="read-only"):
        train[0] = 1
    with pytest.raises(UnknownNameError, match="Did you mean 'validation'"):
        corpus.split("validate")


def test_damage_is_named_with_the_cure(text: Path, tmp_path: Path) -> None:
    corpus = data.load({"path": str(text)}, tmp_path / "d")
    meta = corpus.path / "meta.json"
    whole = meta.read_text()
    with (corpus.path / "test.bin").open("ab") as out:
        out.write(b"x")
    with pytest.raises(DataError, match=r"test\.bin: [\d,]+ bytes, [\d,]+ expected; remove .* build again"):
        data.load({"path": str(text)}, tmp_path / "d")
    (corpus.path / "test.bin").unlink()
    with pytest.raises(DataError, match=r"test\.bin: missing"):
        data.load({"path": str(text)}, tmp_path / "d")
    meta.write_text(whole.replace('"name":"my.txt"', '"name":"me.txt"'))
    with pytest.raises(DataError, match=r"meta\.json: altered: its content is not what its checksum says"):
        data.load({"path": str(text)}, tmp_path / "d")
    meta.write_text(sealed({**unsealed(whole.encode()), "vocab_size": 255}))
    with pytest.raises(DataError, match=r"meta\.json: altered: it describes corpus"):
        data.load({"path": str(text)}, tmp_path / "d")
    meta.write_text(whole[:200])
    with pytest.raises(DataError, match=r"meta\.json: altered: it is cut off"):
        data.load({"path": str(text)}, tmp_path / "d")
    # Forcing a build replaces the damaged one.
    assert build.ensure({"path": str(text)}, tmp_path / "d", force=True).digest == corpus.digest
    assert data.load({"path": str(text)}, tmp_path / "d").digest == corpus.digest


def test_a_damaged_index_entry_means_building_again(text: Path, tmp_path: Path) -> None:
    first = data.digest({"path": str(text)}, tmp_path / "d")
    (entry,) = (tmp_path / "d" / "index").glob("*.json")
    whole = entry.read_text()
    entry.write_text("{")
    assert data.digest({"path": str(text)}, tmp_path / "d") == first
    assert entry.read_text() == whole


def test_an_index_entry_of_another_spec_leads_nowhere(text: Path, tmp_path: Path) -> None:
    first = data.digest({"path": str(text)}, tmp_path / "d")
    (entry,) = (tmp_path / "d" / "index").glob("*.json")
    other = tmp_path / "other.txt"
    other.write_text(lines(50_000, seed=2))
    second = data.digest({"path": str(other)}, tmp_path / "d")
    (mine,) = (p for p in (tmp_path / "d" / "index").glob("*.json") if p != entry)
    mine.write_bytes(entry.read_bytes())
    assert first != second == data.digest({"path": str(other)}, tmp_path / "d")


def test_a_corpus_of_an_earlier_version_has_no_checksum_in_its_meta(text: Path, tmp_path: Path) -> None:
    corpus = data.load({"path": str(text)}, tmp_path / "d")
    meta = corpus.path / "meta.json"
    meta.write_text(json.dumps(unsealed(meta.read_bytes()), indent=1))
    assert data.load({"path": str(text)}, tmp_path / "d").digest == corpus.digest
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "sha257": ""}))
    with pytest.raises(DataError, match="altered: it does not begin with its checksum"):
        data.load({"path": str(text)}, tmp_path / "d")


def test_what_a_killed_build_left_is_cleared(text: Path, tmp_path: Path) -> None:
    key = build.spec_key(build.parse({"path": str(text)}))
    left = tmp_path / "d" / "building" / key
    left.mkdir(parents=True)
    (left / "train.bin").write_bytes(b"half")
    data.load({"path": str(text)}, tmp_path / "d")
    assert not left.exists()


WORKER = """
import sys, time
from pathlib import Path
from harness import data
from harness.data import build

class Noted(build.Staging):
    def __init__(self, folder, key):
        with open(sys.argv[3], "a") as log:
            log.write("built\\n")
        time.sleep(0.5)
        super().__init__(folder, key)

build.Staging = Noted
Path(sys.argv[4]).touch()
while not Path(sys.argv[5]).exists():
    time.sleep(0.005)
print(data.digest({"path": sys.argv[1]}, Path(sys.argv[2])))
"""


def test_processes_that_ask_at_once_build_once(text: Path, tmp_path: Path) -> None:
    log, start = tmp_path / "log", tmp_path / "start"
    ready = [tmp_path / f"ready{i}" for i in range(3)]
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, text, tmp_path / "d", log, r, start],
                         stdout=subprocess.PIPE, text=True)
        for r in ready
    ]
    while not all(r.exists() for r in ready):
        assert all(w.poll() is None for w in workers)
    start.touch()
    digests = {w.communicate(timeout=60)[0].strip() for w in workers}
    assert digests == {data.digest({"path": str(text)}, tmp_path / "d")}
    assert log.read_text() == "built\n"


def test_a_built_corpus_loads_without_the_libraries_that_build(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"text": d}) for d in documents(600)))
    spec = {"path": str(rows), "tokenizer": "bpe", "vocab_size": 300}
    digest = data.digest(spec, tmp_path / "d")
    code = (
        "import sys; from pathlib import Path; from harness import data\n"
        "for m in ('torch', 'tokenizers', 'datasets', 'pandas', 'pyarrow', 'scipy', 'optuna', 'hydra'):\n"
        "    sys.modules[m] = None\n"
        f"c = data.load({spec!r}, Path({str(tmp_path / 'd')!r})); c.split('train')[:5]; print(c.digest)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == digest


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable_is_named(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(DataError, match=r"locked.*cannot write"):
        data.load({"path": str(text)}, folder)


def test_a_data_folder_that_is_a_file_is_named(text: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*cannot write .*choose a data folder"):
        data.load({"path": str(text)}, tmp_path / "file")


def test_bytes_per_token_is_unknown_for_bare_tokens_unless_given(tmp_path: Path) -> None:
    file = write_tokens(tmp_path / "t.bin", np.arange(60_000) % 300)
    assert math.isnan(data.load({"path": str(file)}, tmp_path / "d").bytes_per_token)
    given = data.load({"path": str(file), "bytes_per_token": 4.5}, tmp_path / "d")
    assert given.bytes_per_token == pytest.approx(4.5, rel=1e-3)

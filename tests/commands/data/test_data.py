"""`harness data ...` as typed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.data import pictures
from tests.data.texts import documents, jsonl, write_tokens
from tests.terminal import here


@pytest.fixture
def results(tmp_path):
    (tmp_path / "mine.txt").write_text("a line of text\n" * 20_000)
    return tmp_path / "results"


def test_build_list_export_and_import(results, tmp_path):
    spec = f"path={tmp_path / 'mine.txt'}"
    assert "none built yet; harness data build" in here("data", "list", "--results", results).stdout
    built = here("data", "build", spec, "--results", results)
    assert built.exit_code == 0, built.output
    digest = built.stdout.splitlines()[0].split()[-1]
    assert here("data", "export", spec, "--to", tmp_path / "c.xz", "--results", results).exit_code == 0
    other = tmp_path / "other"
    assert digest in here("data", "import", tmp_path / "c.xz", "--results", other).stdout
    (row,) = json.loads(here("data", "list", "--results", other, "--json").stdout)
    assert (row["digest"], row["state"]) == (digest, "built")
    header, line = here("data", "list", "--results", other).stdout.splitlines()
    assert header.split()[:6] == ["name", "digest", "vocabulary", "train", "validation", "test"]
    assert line.split()[:3] == ["mine.txt", digest[:12], "256"] and line.endswith("whole")


def test_a_damaged_data_set_is_listed_with_what_is_wrong(results, tmp_path):
    assert here("data", "build", f"path={tmp_path / 'mine.txt'}", "--results", results).exit_code == 0
    (folder,) = (results / "data" / "corpora").iterdir()
    (folder / "test.bin").write_bytes(b"")
    lines = here("data", "list", "--results", results).stdout.splitlines()
    assert lines[1].split()[0] == "?" and lines[1].endswith("damaged")
    assert "test.bin: 0 bytes" in lines[2]


def test_build_says_what_is_in_the_data(results, tmp_path):
    texts = documents(300)
    file = jsonl(tmp_path / "my.jsonl", [{"text": t} for t in [*texts, *texts[:7], "", ""]])
    said = here("data", "build", f"path={file}", "--results", results).stdout.splitlines()
    columns = [line.split() for line in said]
    assert columns[1] == ["train", "validation", "test"]
    assert columns[2][0] == "documents" and sum(map(int, columns[2][1:])) == 307
    tokens = [int(n.replace(",", "")) for n in columns[3][1:]]
    assert columns[3][0] == "tokens" and sum(tokens) == sum(len(t.encode()) + 1 for t in [*texts, *texts[:7]])
    assert said[4:6] == ["  left out: 2 empty", "  7 documents equal an earlier one; equal ones are in one split"]
    assert said[6].startswith("  0 % of the validation split's and 0 % of the test split's blocks of 4 lines also")
    dropped = here("data", "build", f"path={file}", "duplicates=drop", "--results", results).stdout
    assert "left out: 2 empty, 7 duplicates" in dropped and "equal an earlier" not in dropped


def test_build_says_what_is_in_tokens_and_pictures(results, tmp_path):
    file = write_tokens(tmp_path / "t.bin", np.arange(50_000) % 300)
    said = here("data", "build", f"path={file}", "--results", results).stdout.splitlines()
    assert [line.split()[0] for line in said[1:]] == ["train", "tokens"]
    assert said[2].split() == ["tokens", "47,000", "1,500", "1,500"]
    root = pictures.folder(tmp_path / "photos")
    said = here("data", "build", "format=images", f"path={root}", "size=8", "--results", results).stdout
    assert said.splitlines()[2].split()[0] == "pictures" and "tokens" not in said


def test_build_names_and_counts_the_pictures_that_it_leaves_out(tmp_path):
    root = pictures.folder(tmp_path / "photos")
    words = ["data", "build", "format=images", f"path={root}", "size=8", "--results", tmp_path / "results"]
    assert "left out" not in here(*words).stdout
    (root / "cat" / "notes.txt").write_text("a cat")
    (root / "dog" / "000.png").write_bytes(b"")
    done = here(*words[:-1], tmp_path / "elsewhere")
    assert done.exit_code == 0, done.output
    assert "2 files left out when it was first built:\n  cat/notes.txt: not a picture" in done.stdout
    assert "\n  dog/000.png: not a picture" in done.stdout


@pytest.mark.parametrize(("words", "message"), [
    (["build", "path=[1, "], "not valid YAML: expected the node content"),
    (["build", "no_such_data"], "no_such_data"),
    (["build", "path=nowhere.txt"], "nowhere.txt"),
    (["import", "nowhere.xz"], "nowhere.xz: no such file"),
])  # fmt: skip
def test_mistakes_are_named(results, words, message):
    done = here("data", *words, "--results", results)
    assert done.exit_code == 2
    assert message in done.stderr

"""`harness data ...` as typed."""

from __future__ import annotations

import json

import pytest

from tests.data import pictures
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
    digest = built.stdout.split()[-1]
    assert here("data", "export", spec, "--to", tmp_path / "c.xz", "--results", results).exit_code == 0
    other = tmp_path / "other"
    assert digest in here("data", "import", tmp_path / "c.xz", "--results", other).stdout
    (row,) = json.loads(here("data", "list", "--results", other, "--json").stdout)
    assert (row["digest"], row["state"]) == (digest, "built")
    assert digest in here("data", "list", "--results", other).stdout


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

"""`harness plan` looks and builds nothing."""

from __future__ import annotations

import json

import pytest

from tests.data.texts import lines
from tests.terminal import here


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "my text.txt"
    file.write_text(lines(80_000))
    return file


@pytest.fixture
def words(text, tmp_path):
    return ["muon_scaling", "profile=smoke", f"base.data.path={text}", "--results", tmp_path / "results"]


def planned(*words):
    done = here("plan", *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)[0]


NOT_BUILT = "data not built here yet, so its trials count as missing"


@pytest.mark.parametrize("command", [["plan"], ["run", "--dry-run"]])
def test_nothing_is_built_and_what_builds_it_is_said(command, words, text, tmp_path):
    done = here(*command, *words)
    assert done.exit_code == 0, done.output
    assert f"note: {NOT_BUILT}; a run builds it, or: harness data build 'path={text}'" in done.stdout
    assert "0 done" in done.stdout
    assert not (tmp_path / "results").exists()


def test_where_the_data_are_built_trials_have_the_identity_that_a_run_gives_them(words, text, tmp_path):
    before = planned(*words)
    assert here("data", "build", f"path={text}", "--results", tmp_path / "results").exit_code == 0
    after = planned(*words)
    assert not any(NOT_BUILT in note for note in after["notes"])
    assert len(after["trials"]) == len(before["trials"])
    assert not {t["identity"] for t in after["trials"]} & {t["identity"] for t in before["trials"]}
    # A changed source is another corpus, which is not built.
    text.write_text(lines(90_000))
    changed = planned(*words)
    assert any(NOT_BUILT in note for note in changed["notes"])
    assert not {t["identity"] for t in changed["trials"]} & {t["identity"] for t in after["trials"]}


def test_an_exported_round_is_of_built_data(words, tmp_path):
    done = here("plan", *words, "--export", tmp_path / "round.json")
    assert done.exit_code == 0, done.output
    assert list((tmp_path / "results" / "data" / "corpora").iterdir())


@pytest.mark.parametrize(("key", "message"), [("path", "no such file or folder"), ("format", "unknown")])
def test_data_that_cannot_be_are_refused(words, key, message, tmp_path):
    given = ["base.data.path=nowhere.txt"] if key == "path" else [words[2], "base.data.shape=round"]
    done = here("plan", *words[:2], *given, *words[3:])
    assert done.exit_code == 2
    assert message in done.stderr

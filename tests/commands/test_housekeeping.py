"""`harness plan`, `accept`, `clean`, `track` over a toy run."""

from __future__ import annotations

import json

import pytest

from harness.records import tracking
from harness.records.record import Record
from tests.terminal import here


def plan(run, *arguments):
    done = here("plan", run.file, "profile=smoke", "--results", run.results, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def counts(run):
    (found,) = json.loads(plan(run, "--json"))
    return {state: found[state] for state in ("done", "stale", "missing", "failed")}


def make_stale(run, count):
    """Give this many records the fingerprint of other code."""
    for record in run.records()[:count]:
        run.store.remove(record)
        run.store.write(record.model_copy(update={"fingerprint": {"harness.workloads.toy": "other"}}))


def test_plan_has_a_row_for_each_arm_and_cell(toy_run):
    lines = [line.split() for line in plan(toy_run).splitlines()]
    assert lines[0][:2] == ["toy_suite", "profile=smoke:"]
    assert next(line for line in lines if line[0] == "arm")[:5] == ["arm", "cell", "role", "done", "stale"]
    rows = {tuple(line[:3]): line[3:] for line in lines if len(line) == 4 and line[2] in ("tuning", "evaluation")}
    assert rows["adamw", "size=small", "evaluation"] == ["3"]
    assert len(rows) == 10, "two tuned arms of two roles and one that is not tuned, at two sizes"


def test_plan_says_why_trials_are_pending(toy_run):
    make_stale(toy_run, 2)
    assert counts(toy_run)["stale"] == 2
    assert "2 x stale: changed: " in plan(toy_run)
    lines = plan(toy_run).splitlines()
    heading, *rows = [line for line in lines if line.split()[0] in ("arm", "adamw", "muon", "moved")]
    at = heading.index("stale")
    assert sum(int(row[at : at + 5].strip() or 0) for row in rows) == 2
    assert sum(line.startswith("  stale ") for line in plan(toy_run, "--trials").splitlines()) == 2


def test_plan_output_is_not_broken_at_a_terminals_width(toy_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert "of one worker" in plan(toy_run).splitlines()[0]


def test_accept_carries_stale_records_over_and_keeps_the_reason(toy_run):
    make_stale(toy_run, 2)
    words = ["accept", toy_run.file, "profile=smoke", "--results", toy_run.results]
    assert here(*words).exit_code == 2
    done = here(*words, "--reason", "renamed")
    assert (done.exit_code, "accepted 2 records" in done.stdout) == (0, True)
    assert counts(toy_run)["stale"] == 0
    assert "nothing is stale" in here(*words, "--reason", "renamed").stdout


@pytest.mark.parametrize("yes", [False, True])
def test_clean_deletes_only_when_told_to(toy_run, yes):
    make_stale(toy_run, 2)
    (toy_run.store.work / "scratch").mkdir()
    before = len(toy_run.records())
    done = here("clean", toy_run.file, "profile=smoke", "--results", toy_run.results, "--stale", *["--yes"] * yes)
    assert done.exit_code == 0, done.output
    assert "1 scratch folders, 2 records" in done.stdout
    assert len(toy_run.records()) == before - 2 * yes
    assert (toy_run.store.work / "scratch").exists() is not yes


def test_clean_unused_keeps_what_a_stored_plan_shows(toy_run):
    fields = toy_run.records()[0].model_dump(mode="json")
    toy_run.store.write(Record.model_validate({**fields, "trial": {**fields["trial"], "seed": 77}}))
    kept = len(toy_run.records()) - 1
    done = here("clean", "--results", toy_run.results, "--unused", "--yes")
    assert "1 records" in done.stdout, done.output
    assert len(toy_run.records()) == kept
    assert counts(toy_run)["missing"] == 0


def test_clean_stale_needs_a_suite(toy_run):
    done = here("clean", "--results", toy_run.results, "--stale")
    assert (done.exit_code, "--stale needs the suites" in done.stderr) == (2, True)


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (2, 3)])
def test_track_sends_each_record_and_exits_3_where_some_failed(toy_run, monkeypatch, failed, code):
    sent = []

    class Summary:
        def as_dict(self):
            return {"sent": len(sent) - failed, "already": 0, "failed": failed, "errors": ["no server"] * failed}

    def sync(rows, results, uri, **_):
        sent.extend(rows)
        return Summary()

    monkeypatch.setattr(tracking, "sync", sync)
    done = here("track", toy_run.file, "profile=smoke", "--results", toy_run.results)
    assert done.exit_code == code, done.output
    assert f"failed {failed}" in done.stdout
    assert len(sent) >= len(toy_run.records())


def test_track_before_a_run_says_so(toy_run, tmp_path):
    done = here("track", toy_run.file, "profile=smoke", "--results", tmp_path / "elsewhere")
    assert (done.exit_code, "nothing has been run" in done.stderr) == (2, True)


@pytest.mark.parametrize("words", [
    ["accept", "{suite}", "profile=smoke", "--reason", "x"], ["clean"],
    ["regress", "{suite}", "profile=smoke", "--update", "--reason", "x"],
])  # fmt: skip
def test_what_removes_or_moves_waits_for_nobody(toy_run, words):
    words = [w.format(suite=toy_run.file) for w in words]
    with toy_run.store.shared("harness run"):
        done = here(*words, "--results", toy_run.results)
    assert done.exit_code == 2
    assert f"harness {words[0]}" in done.stderr and "in use by harness run" in done.stderr
    assert here(*words, "--results", toy_run.results).exit_code == 0

"""`harness regress` over a toy run: equal to the bit, changed, absent; and moving the reference."""

from __future__ import annotations

import json

import pytest

from harness.commands import _reference
from harness.workload import workload_module
from tests.terminal import here


@pytest.fixture
def referenced(toy_run):
    """The toy run, its records committed as the reference."""
    done = regress(toy_run, "--update", "--reason", "first")
    assert done.exit_code == 0, done.output
    return toy_run


def regress(run, *arguments):
    return here("regress", run.file, "profile=smoke", "--results", run.results, *arguments)


def alter(run, **changes):
    """Change one stored record; returns it as it was."""
    record = run.records()[0]
    run.store.remove(record)
    run.store.write(record.model_copy(update=changes))
    return record


def test_equal_records_are_no_regression(referenced):
    done = regress(referenced)
    count = len(referenced.records())
    assert done.exit_code == 0
    assert f"toy_suite: {count} bit-identical, 0 changed" in done.stdout
    assert "no regression" in done.stdout
    assert json.loads(regress(referenced, "--json").stdout)["compared"] == count


@pytest.mark.parametrize(("metric", "code"), [("test_loss", 4), ("validation_loss", 4), ("flops", 0)])
def test_what_the_workload_declares_as_compared_must_be_equal_to_the_bit(referenced, metric, code):
    was = referenced.records()[0].metrics
    old = alter(referenced, metrics={**was, metric: was[metric] * (1 + 1e-15) + 1e-12})
    done = regress(referenced)
    assert done.exit_code == code, done.output
    if code:
        assert f"toy_suite trial {old.identity[:12]} seed {old.trial.seed} (same code): {metric} " in done.stdout
        assert "no regression" not in done.stdout


def test_a_metric_declared_later_is_compared_without_an_edit_here(referenced, monkeypatch):
    module = workload_module("toy")
    flops = module.METRICS["flops"]
    monkeypatch.setitem(module.METRICS, "flops", type(flops)(label="FLOPs", compared=True))
    alter(referenced, metrics={**referenced.records()[0].metrics, "flops": 1.0})
    assert regress(referenced).exit_code == 4
    assert _reference.compared_metrics("toy") == ["test_loss", "validation_loss", "flops"]


def test_another_ending_is_a_regression(referenced):
    alter(referenced, status="diverged", diverged_step=3)
    done = regress(referenced)
    assert done.exit_code == 4
    assert "completed -> diverged" in done.stdout


def test_absent_records_are_never_no_regression(referenced):
    for record in referenced.records():
        referenced.store.remove(record)
    done = regress(referenced)
    assert done.exit_code == 5
    assert "nothing compared" in done.stdout and "no regression" not in done.stdout
    assert json.loads(regress(referenced, "--json").stdout)["compared"] == 0


def test_records_of_another_numerics_class_are_not_compared_bit_for_bit(referenced):
    for record in referenced.records():
        referenced.store.remove(record)
        changed = {"numerics_class": "other", "metrics": {**record.metrics, "test_loss": 9.0}}
        referenced.store.write(record.model_copy(update=changed))
    done = regress(referenced)
    assert done.exit_code == 5
    assert f"{len(referenced.records())} of another numerics class" in done.stdout


def test_without_a_reference_the_way_to_one_is_said(toy_run):
    done = regress(toy_run)
    assert done.exit_code == 2
    assert "no committed reference of toy_suite" in done.stderr
    assert "harness regress --update --reason" in done.stderr


def test_the_reference_moves_only_with_a_reason_that_is_kept(referenced):
    assert regress(referenced, "--update").exit_code == 2
    assert regress(referenced, "--update", "--reason", "second").exit_code == 0
    lines = (referenced.results / "reference" / "smoke" / "history.txt").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["first", "second"]


def test_the_reference_moves_only_to_a_finished_run(referenced):
    referenced.store.remove(referenced.records()[0])
    done = regress(referenced, "--update", "--reason", "unfinished")
    assert done.exit_code == 2
    assert "1 trials have no record yet" in done.stderr

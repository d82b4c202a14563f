"""Speed of the harness itself: planning and loading ten thousand trials, and the command's first word."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.outcome import Curve
from harness.planning.plan import make_plan
from harness.planning.suite import Suite
from harness.records.frames import trials_frame
from harness.records.record import RecordSet
from harness.records.store import Store
from tests.conftest import TOY_SUITE, run_toy

TEN_THOUSAND = {
    **{k: v for k, v in TOY_SUITE.items() if k != "tuning"},
    "seeds": 1000,
    "arms": {"adamw": {"optimizer": {"name": "adamw"}}},
    "sweep": {"space": {"optimizer.lr": {"log2": [-9, -5]}}},
}


@pytest.fixture
def suite(toy_workload):
    return Suite.model_validate(TEN_THOUSAND)


def test_plan_of_ten_thousand_missing_trials(benchmark, suite, tmp_path):
    """Target: under 2 s."""
    plan = benchmark.pedantic(make_plan, (suite, RecordSet(), tmp_path), rounds=3)
    assert len(plan.items) == 10_000


def test_plan_of_ten_thousand_done_trials(benchmark, suite, tmp_path):
    """Target: under 2 s."""
    records = RecordSet()
    for item in make_plan(suite, records, tmp_path).items:
        records.add(run_toy(item.planned.trial))
    plan = benchmark.pedantic(make_plan, (suite, records, tmp_path), rounds=3)
    assert not plan.pending


def test_load_of_ten_thousand_records(benchmark, suite, tmp_path):
    """Target: under 3 s, curves of 32 points included."""
    store = Store(tmp_path)
    store.prepare()
    curves = {"train_loss": Curve(steps=list(range(40)), values=[1 / 3] * 40)}
    for item in make_plan(suite, RecordSet(), tmp_path).items:
        record = run_toy(item.planned.trial, curves=curves)
        path = store.path_of(record)
        path.parent.mkdir(exist_ok=True)
        path.write_text(record.model_dump_json())
    records = benchmark.pedantic(store.load, rounds=3)
    assert len(records) == 10_000


def test_help(benchmark):
    """Target: under 0.5 s."""
    benchmark.pedantic(
        subprocess.run,
        ([sys.executable, "-m", "harness", "--help"],),
        {"capture_output": True, "check": True},
        rounds=5,
    )


def test_frame_of_ten_thousand_rows(benchmark, suite, tmp_path):
    from harness.records.record import Row

    rows = [Row(i.planned, run_toy(i.planned.trial)) for i in make_plan(suite, RecordSet(), tmp_path).items]
    assert len(benchmark.pedantic(trials_frame, (rows,), rounds=3)) == 10_000

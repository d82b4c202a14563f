"""Numbers of a trial with a plug-in, recomputed from its weights in another process."""

import pytest

from harness.execution.executors.inline import InlineExecutor
from harness.execution.verification import is_due


def run(bench, job):
    return next(InlineExecutor().run([job], bench.folders, lambda *_: None))[1]


def test_a_truthful_record_says_how_it_was_verified(bench):
    record = run(bench, bench.job())
    assert record.status == "completed" and record.plugins == {"plugin.py": bench.plugin.digest}
    assert record.verified == "with the plug-in, loaded after the evaluation code"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("lie", "total was 4.5 in the trial, and is 5.5 recomputed from its weights where plug-in plugin.py"),
        ("no weights", "its losses could not be recomputed from its weights"),
        ("evaluation dies", "could not be recomputed from its weights: the trial's process ended with exit code 7"),
    ],
)
def test_a_record_whose_numbers_do_not_come_again_is_crashed_and_keeps_none(bench, fault, told):
    record = run(bench, bench.job(seed=2, fault=fault))
    assert record.status == "crashed" and told in record.reason
    assert not record.metrics and not record.artifacts and record.verified == ""


def test_a_result_that_a_killed_runner_left_unverified_is_verified_and_not_computed_again(bench):
    job = bench.job()
    left = bench.run(job)
    assert is_due(job, left)
    record = run(bench, job)
    assert record.verified and record.metrics == left.metrics and len(bench.lines("begin")) == 1
    assert not is_due(job, record) and run(bench, job) == record


def test_a_trial_without_plugins_is_due_for_nothing(bench):
    job = bench.job(plugins=())
    assert not is_due(job, bench.run(job))

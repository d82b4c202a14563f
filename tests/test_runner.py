"""The runner's rounds over several suites."""

from harness import runner
from harness.planning.suite import Suite
from harness.records.record import Row
from harness.records.store import Store
from tests.conftest import TOY_SUITE, run_toy


class ToyExecutor:
    """Runs a toy trial in no time."""

    capacity = 1

    def run(self, jobs, folders, on_event):
        for job in jobs:
            yield job, run_toy(job.trial)

    def close(self):
        pass


def test_a_trial_of_two_suites_runs_once_and_is_told_for_each(toy_workload, tmp_path):
    suites = [Suite.model_validate({**TOY_SUITE, "name": name}) for name in ("one", "two")]
    told: list[Row] = []
    summary = runner.run(suites, Store(tmp_path), ToyExecutor(), after_store=told.append)
    keys = [(row.planned.suite, row.record.identity) for row in told]
    assert len(keys) == len(set(keys)) == 2 * summary.ran
    assert {suite for suite, _ in keys} == {"one", "two"}

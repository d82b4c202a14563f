"""The runner's rounds: over several suites, and over trials that need others."""

import json
import shutil

import pytest

from harness import registry, runner
from harness.execution.executors import executor
from harness.planning.suite import Suite
from harness.records.record import Row
from harness.records.store import Store
from tests.conftest import TOY_SUITE, run_toy
from tests.terminal import harness
from tests.toys.needing import FOLDER, PLUGIN, codecs


class ToyExecutor:
    """Runs a toy trial in no time; may be killed after so many."""

    capacity = 1

    def __init__(self, die_after=None):
        self.die_after = die_after

    def run(self, jobs, folders, on_event):
        for number, job in enumerate(jobs):
            if number == self.die_after:
                raise MemoryError("as kill -9 would, without any handler's help")
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


class Failing(ToyExecutor):
    """Every trial is killed."""

    def run(self, jobs, folders, on_event):
        for job in jobs:
            yield job, run_toy(job.trial, status="crashed", reason="signal 9", metrics={})


def test_a_killed_rerun_for_a_probe_leaves_the_finished_records(toy_workload, tmp_path):
    """The records lack a probe, are run again for it, and the new run is killed."""
    store = Store(tmp_path)
    suite = Suite.model_validate(TOY_SUITE)
    ran = runner.run([suite], store, ToyExecutor()).ran
    before = {p: p.read_bytes() for p in store.record_files()}
    wanting = Suite.model_validate({**TOY_SUITE, "probes": {"effective_rank": {}}})
    told = []
    summary = runner.run([wanting], store, Failing(), after_store=told.append)
    assert summary.ran == len(summary.failed) > 0
    assert {p: p.read_bytes() for p in store.record_files()} == before
    assert len(list(store.attempts.iterdir())) == summary.ran
    assert "ended as 'crashed'; the completed record stays" in summary.notes[0]
    assert {row.record.status for row in told} <= {"completed", "diverged"}
    assert runner.run([suite], store, ToyExecutor()).ran == 0 < ran


def test_records_that_contradict_a_rerun_count_no_longer(toy_workload, tmp_path):
    class Other(ToyExecutor):
        def run(self, jobs, folders, on_event):
            for job in jobs:
                yield job, run_toy(job.trial, metrics={"test_loss": 0.5, "validation_loss": 0.5})

    store, suite = Store(tmp_path), Suite.model_validate(TOY_SUITE)
    runner.run([suite], store, ToyExecutor())
    wanting = Suite.model_validate({**TOY_SUITE, "probes": {"effective_rank": {}}})
    summary = runner.run([wanting], store, Other())
    assert "gives other numbers" in summary.notes[0] and "neither counts" in summary.notes[0]
    assert len(list((store.runs / "quarantine").iterdir())) == 2 * summary.ran


# --- trials that need others ---------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def plugin():
    registry.load_plugin(PLUGIN)


@pytest.fixture
def inline():
    return executor("inline")


def values(summary, suite=0):
    """(arm, fold, rate, seed) -> PSNR."""
    rows = [i for i in summary.plans[suite].items if i.planned.role == "evaluation"]
    return {(i.planned.arm, *i.planned.cell.values(), i.planned.trial.seed): i.record.metrics["psnr"] for i in rows}


@pytest.mark.parametrize("name", ["inline", "local"])
def test_a_trial_reads_what_the_one_that_it_needs_left(name, tmp_path):
    machine = executor(name)
    try:
        summary = runner.run([codecs()], Store(tmp_path), machine)
    finally:
        machine.close()
    assert (summary.ran, summary.failed) == (2 + 16 + 4, [])
    assert summary.plans[0].counts()["done"] == len(summary.plans[0].items) == 26
    psnr = values(summary)
    assert psnr["ddcm", "a", 1.0, 0] == 10 * 2.0 + 1.0
    assert psnr["turbo", "b", 2.0, 1] == pytest.approx(10 * 2.0 + 2.0 + 0.01)
    assert psnr["jpeg", "a", 1.0, 0] == 1.0, "it reads none"
    store = Store(tmp_path)
    assert len(list(store.artifacts.iterdir())) == 2
    assert runner.run([codecs()], store, machine).ran == 0


def test_two_suites_share_a_needed_trial_and_each_reads_it(inline, tmp_path):
    other = codecs(name="other", file="other.yaml", arms={"mp": {"name": "mp"}})
    summary = runner.run([codecs(), other], Store(tmp_path), inline)
    assert summary.ran == 22 + 8
    assert values(summary, 1)["mp", "b", 2.0, 0] == 22.0


def test_those_that_read_a_failed_trial_do_not_run_and_say_so(inline, tmp_path):
    broken = codecs(needs={"denoiser": {"workload": "toy_denoiser", "base": {"fault": "raise"}}})
    summary = runner.run([broken], Store(tmp_path), inline)
    assert summary.ran == 2 + 4
    assert {record.reason.splitlines()[-1] for _, record in summary.failed} == {"ValueError: no photographs"}
    plan = summary.plans[0]
    assert plan.counts() == {"done": 8, "stale": 0, "missing": 0, "failed": 2, "waiting": 16}
    assert plan.notes == [
        f"needed trial 'denoiser', fold {fold} failed: crashed: ValueError: no photographs; 8 trials wait for it"
        for fold in "ab"
    ]


def test_a_retrained_trial_runs_those_that_read_it_again_if_its_artifacts_changed(inline, tmp_path, monkeypatch):
    store = Store(tmp_path)
    runner.run([codecs()], store, inline)

    def train_again():
        """As if the denoiser's code had changed."""
        for path in store.records.glob("*/*.json"):
            fields = json.loads(path.read_bytes())
            if fields["trial"]["workload"] == "toy_denoiser":
                path.unlink()
        return runner.run([codecs()], store, inline)

    assert train_again().ran == 2, "equal bytes: nothing that read them runs"
    monkeypatch.setenv("TOY_BIAS", "0.5")
    again = train_again()
    assert again.ran == 2 + 16
    assert values(again)["ddcm", "a", 1.0, 0] == 10 * 2.5 + 1.0
    assert values(again)["jpeg", "a", 1.0, 0] == 1.0


def test_editing_a_needed_trials_code_makes_it_stale_and_its_readers_wait(tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(FOLDER, mine, ignore=shutil.ignore_patterns("__pycache__"))
    words = [mine / "codecs.yaml", "--plugin", mine / "needing_plugin.py", "--results", tmp_path / "results"]
    first = harness("run", *words, "--no-track", "--executor", "inline")
    assert "26 of 26 trials done, 22 run now" in first.stdout
    code = mine / "workloads" / "toy_denoiser.py"
    code.write_text(code.read_text().replace("BIAS = 0.0", "BIAS = 0.5"))
    plan = json.loads(harness("plan", *words, "--json").stdout)[0]
    assert {(t["arm"], t["role"], t["state"], t["why"]) for t in plan["trials"]} == {
        ("denoiser", "needed", "stale", "changed: harness.workloads.toy_denoiser"),
        *(
            (arm, "evaluation", "waiting",
             "needs 'denoiser', which is stale: changed: harness.workloads.toy_denoiser")
            for arm in ("ddcm", "turbo")
        ),
        ("jpeg", "evaluation", "done", ""),
    }  # fmt: skip
    shown = harness("plan", *words).stdout
    assert "2 stale" in shown
    assert "of them 16 waiting for trials that they need" in " ".join(shown.split())
    again = harness("run", *words, "--no-track", "--executor", "inline")
    assert "26 of 26 trials done, 18 run now" in again.stdout

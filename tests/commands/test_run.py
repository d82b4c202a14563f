"""`harness run` over a toy suite: what it says at its end, and its exit codes."""

from __future__ import annotations

import pytest

from harness.commands import _running
from tests.commands.conftest import ToyExecutor
from tests.conftest import run_toy
from tests.terminal import here


class Ending(ToyExecutor):
    """Runs some trials and then ends as told."""

    def __init__(self, end=None, status="completed"):
        self.end, self.status, self.closed = end, status, False

    def run(self, jobs, folders, on_event):
        for number, job in enumerate(jobs):
            if self.end is not None and number == 2:
                raise self.end
            yield job, run_toy(job.trial, status=self.status, reason="ValueError: [x]")

    def close(self):
        self.closed = True


@pytest.fixture
def run(toy_run, monkeypatch, tmp_path):
    """Runs the toy suite anew with this executor."""

    def run(executor, *arguments):
        monkeypatch.setattr(_running, "executor", lambda name, **options: executor)
        words = ["run", toy_run.file, "profile=smoke", "--results", tmp_path / "again", "--no-track", *arguments]
        done = here(*words)
        assert executor.closed or "--dry-run" in arguments
        return done

    return run


def test_a_run_says_what_it_did(run):
    done = run(Ending())
    assert done.exit_code == 0, done.output
    assert "toy_suite (smoke): " in done.stdout and "round 1: " in done.stdout
    assert " 0 run now" in run(Ending()).stdout


@pytest.mark.parametrize(("end", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_a_signal_keeps_what_is_done_and_has_its_code(run, end, code):
    done = run(Ending(end))
    assert done.exit_code == code
    assert "2 run now" in done.stdout
    assert "the same command goes on from here" in done.stderr


def test_a_trial_that_crashed_is_exit_3(run):
    done = run(Ending(status="crashed"), "--quiet")
    assert done.exit_code == 3
    assert "crashed: toy_suite adamw size=small" in done.stderr
    assert "round 1" not in done.stdout


def test_a_dry_run_runs_nothing(run):
    done = run(Ending(), "--dry-run")
    assert done.exit_code == 0
    assert "0 done" in done.stdout


def test_an_unknown_executor_suggests(toy_run):
    done = here("run", toy_run.file, "profile=smoke", "--results", toy_run.results, "--executor", "locl")
    assert done.exit_code == 2
    assert "Did you mean 'local'" in done.stderr

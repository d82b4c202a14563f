"""The inline executor: one after another, in order."""

import os
import re
import signal
import threading
import time

import pytest

from harness.errors import HarnessError, UnknownNameError
from harness.execution.executors import executor
from harness.execution.executors.inline import InlineExecutor


def test_runs_in_the_order_given_and_tells_what_happens(bench):
    events = []
    jobs = [bench.job(seed=s, steps=2, expected_seconds=s) for s in (1, 0, 2)]

    def on_event(job, kind, share):
        events.append((job.trial.seed, kind, share))

    results = list(InlineExecutor().run(jobs, bench.folders, on_event))
    assert [job.trial.seed for job, _ in results] == [1, 0, 2]
    ends = [e for e in events if e[1] != "progress"]
    assert ends == [(s, kind, share) for s in (1, 0, 2) for kind, share in (("started", 0.0), ("completed", 1.0))]
    assert len({line[2] for line in bench.lines("begin")} - {os.getpid()}) == 3


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_interrupts_the_trial_and_its_checkpoint_stays(bench, number, raised):
    job = bench.job(steps=50, pause=0.05)
    # Tests started in a shell's background inherit an ignored SIGINT.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)

    def interrupt():
        while not bench.lines("step"):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(raised):
            list(InlineExecutor().run([job], bench.folders, lambda *_: None))
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert signal.getsignal(signal.SIGTERM) is before
    assert 0 < len(bench.lines("step")) < 50 and (bench.folders.scratch(job) / "checkpoint.json").is_file()


def test_an_unknown_executor_is_told():
    with pytest.raises(UnknownNameError, match=r"executor 'lokal'. Did you mean 'local'\? Valid: inline, local"):
        executor("lokal")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("local", {"worker": 2}, "unknown option of executor 'local' 'worker'. Did you mean 'workers'"),
        ("inline", {"workers": 2}, "executor 'inline' has no options; leave out workers"),
    ],
)
def test_an_option_that_it_does_not_have_is_told(name, options, message):
    with pytest.raises(HarnessError, match=re.escape(message)):
        executor(name, **options)


def test_each_says_how_many_jobs_it_runs_at_once():
    assert executor("inline").capacity == 1 and executor("local", workers=3).capacity == 3

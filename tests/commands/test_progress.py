"""What is shown while something is under way: bars on a terminal, lines in a log, nothing in a pipe."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from harness.commands._progress import bytes_done, working
from harness.commands._trial_display import Lines, TrialBar


def record(status, **fields):
    return SimpleNamespace(**{"reason": "", "diverged_step": None, "status": status, **fields})


@pytest.fixture
def bar():
    out = io.StringIO()
    shown = TrialBar(Console(file=out, force_terminal=True, width=300, no_color=True), workers=2)
    with shown.bar:
        yield shown, lambda: shown.bar.tasks[0].fields["left"], out


def test_the_bar_counts_rounds_running_trials_failures_and_time_left(bar):
    shown, left, out = bar
    shown.round(1, [None] * 4, 8, 40.0)
    assert left().startswith("about 20 s left (+ up to 8)")
    shown.event("started", "suite adamw size=d24", 0.0)
    shown.event("progress", "suite adamw size=d24", 0.5)
    assert left().endswith("adamw size=d24 50%")
    shown.stored("suite adamw size=d24", record("completed"))
    assert left().startswith("about 15 s left")
    shown.stored("suite adamw size=d32", record("crashed", reason="Traceback\nValueError: [x]\n"))
    shown.stored("suite adamw size=d48", record("diverged", diverged_step=7))
    assert "2 failed" not in left() and "1 failed" in left()
    assert shown.bar.tasks[0].completed == 3
    assert "crashed: suite adamw size=d32: ValueError: [x]" in out.getvalue()
    assert "diverged: suite adamw size=d48 at step 7" in out.getvalue()
    shown.round(2, [None] * 2, 0, 10.0)
    assert shown.bar.tasks[0].total == 5
    assert "up to" not in left()


def test_a_failure_without_a_reason_is_shown_too(bar):
    shown, _, out = bar
    shown.round(1, [None], 0, 1.0)
    shown.stored("suite adamw", record("crashed"))
    assert "crashed: suite adamw" in out.getvalue()


@pytest.mark.parametrize("quiet", [False, True])
def test_a_log_has_a_line_a_round_and_a_line_a_failure(quiet, capsys):
    lines = Lines(quiet)
    lines.round(1, [None] * 4, 8, 90.0)
    lines.stored("suite adamw", record("completed"))
    lines.stored("suite muon", record("timed_out", reason="after 3 s"))
    out, err = capsys.readouterr()
    assert ("round 1: 4 trials, up to 8 more, about 1 min 30 s of one worker" in out) is not quiet
    assert err.strip() == "timed_out: suite muon: after 3 s"


def test_in_a_pipe_nothing_is_drawn(capsys):
    with working("reading") as say:
        say("a part")
    with bytes_done("building") as progress:
        progress(1, 2)
    assert capsys.readouterr() == ("", "")


def on_a_terminal(*words, cwd=None):
    """What a process writes to stderr that is a terminal, and to stdout that is a pipe; it must end well."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=theirs, cwd=cwd,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(ours)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 0, shown
    return shown, out


def test_on_a_terminal_it_is_said_what_goes_on():
    code = (
        "from harness.commands._progress import bytes_done, working\n"
        "import time\n"
        "with working('reading') as say:\n    say('a part')\n    time.sleep(0.3)\n    print('the answer')\n"
        "with bytes_done('building') as done:\n    done(1 << 20, 2 << 20)\n    time.sleep(0.3)\n"
    )
    shown, out = on_a_terminal("-c", code)
    assert b"reading: a part" in shown
    assert b"building" in shown and b"1.0/2.0 MiB" in shown
    assert out == b"the answer\n"


@pytest.mark.parametrize(("words", "said"), [
    ("plan muon_scaling profile=smoke", b"planning"), ("run muon_scaling profile=smoke --dry-run", b"planning"),
    ("check muon_scaling", b"checking muon_scaling"),
    ("analyse runs.csv arm=b baseline=a --estimator mean_difference", b"estimating"),
])  # fmt: skip
def test_commands_that_take_their_time_say_what_they_are_at(words, said, tmp_path):
    rows = [f"{arm},small,{seed},{2 + (1 + seed / 9) * (arm == 'b')}" for arm in "ab" for seed in range(3)]
    (tmp_path / "runs.csv").write_text("\n".join(["arm,size,seed,loss", *rows, ""]))
    shown, out = on_a_terminal("-m", "harness", *words.split(), cwd=tmp_path)
    assert said in shown
    assert out

"""How commands end: a sentence and an exit code, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.commands import _guard
from harness.errors import HarnessError
from tests.terminal import harness

RAISING = """
import sys
from pathlib import Path
import harness.commands.list as module
import harness.commands._kinds as kinds
def broken(what):
    {body}
kinds.chosen = broken
sys.argv = ["harness", *sys.argv[1:]]
from harness.cli import main
main()
"""


def ending(body, *arguments, **options):
    """How ``harness list`` ends where its middle is this code."""
    return subprocess.run(
        [sys.executable, "-c", RAISING.format(body=body), "list", *arguments],
        capture_output=True, text=True, timeout=60, **options,
    )  # fmt: skip


def test_something_unexpected_is_a_sentence_and_a_log(tmp_path):
    done = ending("{}['missing']", env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 1
    assert "error: unexpected KeyError: 'missing'" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    (log,) = tmp_path.glob("harness-*.log")
    assert str(log) in done.stderr
    text = log.read_text()
    assert "Traceback" in text
    assert "command: harness list" in text


@pytest.fixture
def guarded_failure(monkeypatch):
    """Runs a guarded command that meets an unexpected error; (exit code, log)."""
    import typer

    def run(results):
        def command(results):
            raise ZeroDivisionError("unexpected")

        with pytest.raises(typer.Exit) as ended:
            _guard.guarded(command)(results=results)
        return ended.value.exit_code

    return run


def test_the_log_lies_below_the_results_folder_where_there_is_one(guarded_failure, tmp_path, capsys):
    assert guarded_failure(tmp_path) == 1
    (log,) = (tmp_path / "runs" / "logs").glob("*.log")
    assert str(log) in capsys.readouterr().err


def test_a_results_folder_that_cannot_be_written_leaves_the_log_in_the_temporary_folder(
    guarded_failure, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "runs").write_text("a file where a folder belongs")
    assert guarded_failure(tmp_path / "results") == 1
    (log,) = (tmp_path / "temporary").glob("*.log")
    assert str(log) in capsys.readouterr().err


def test_a_users_mistake_exits_2_and_leaves_no_log(tmp_path):
    done = ending(
        "from harness.errors import HarnessError; raise HarnessError('a: b')",
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (2, "error: a: b\n")
    assert not list(tmp_path.iterdir())
    assert HarnessError.__mro__[1] is Exception


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_unwind_and_have_codes_of_their_own(number, code, tmp_path):
    held = tmp_path / "held"
    body = (
        f"import contextlib, time\n    held = Path({str(held)!r})\n    held.touch()\n"
        "    try:\n        time.sleep(30)\n    finally:\n        held.unlink()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", RAISING.format(body=body), "list"], stderr=subprocess.PIPE, text=True,
        # A shell's background job ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while not held.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert not held.exists()


def shell(line, **options):
    line = line.replace("harness", f"{sys.executable} -m harness")
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("line", [
    "harness list --json | head -1", "harness --help | head -c 1", "harness list optimizers | true",
    "harness list methods >&-", "harness list optimizers >&- 2>&-", "harness data list --results nowhere >&-",
    "harness show optimizer.muon | head -1", "harness show suite | head -1", "harness --help | true",
    "harness plan --help | true", "harness --version | true",
])  # fmt: skip
def test_a_reader_that_goes_away_ends_a_command_quietly(line, tmp_path):
    done = shell(line + '; exit "${PIPESTATUS[0]}"', cwd=tmp_path)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stderr"])
def test_whatever_the_encoding_everything_is_written(encoding, stream):
    said = "0.5 [−0.1, 1.2] × 10 – naïve 学"
    done = subprocess.run(
        [sys.executable, "-c", RAISING.format(body=f"print({said!r}, file={stream}); return []"), "list"],
        capture_output=True, timeout=60, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = (done.stdout if stream == "sys.stdout" else done.stderr).decode(encoding).strip()
    assert found == {
        "ascii": "0.5 [-0.1, 1.2] x 10 - naive ?", "latin-1": "0.5 [-0.1, 1.2] × 10 - naïve ?",
        "cp1252": "0.5 [-0.1, 1.2] × 10 – naïve ?", "utf-8": said,
    }[encoding]  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["list methods", "--help", "plan --help"])
def test_a_full_disk_is_a_sentence(words, tmp_path):
    done = shell(f"harness {words} > /dev/full", cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_stderr_that_is_closed_is_no_trouble(tmp_path):
    assert shell("harness run nothing_of_this_name 2>&-", cwd=tmp_path).returncode == 2


def test_a_plan_read_in_part_ends_quietly(tmp_path):
    text = tmp_path / "mine.txt"
    text.write_text("a line of text\n" * 20_000)
    words = f"muon_scaling profile=smoke base.data.path={text} --trials"
    done = shell(f'harness plan {words} | head -2; exit "${{PIPESTATUS[0]}}"', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "muon_scaling profile=smoke" in done.stdout
    assert harness("plan", *words.split(), cwd=tmp_path).stdout.count("tuning") > 2

"""What runs inside a worker process of the local executor. Imports torch only once its slot is set up."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import signal
import threading
import time
from collections.abc import MutableSequence
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

PID, TRIAL_PID, STARTED, SHARE = range(4)
"""Places in the numbers shared with the runner: process id of the newest worker, and of the one that began
the trial; start of the trial (monotonic clock; 0: not begun); share of its work done."""
BUSY = "busy"
PIPE_CHARACTERS = 2000
"""Longer results travel by file: a worker killed in the middle of a long message would block the pool."""

_board: MutableSequence[float] = [0.0] * 4
_folder = Path()
_number = 0


@dataclass(frozen=True)
class Slot:
    """A share of the machine that runs one trial at a time."""

    number: int
    threads: int
    cpus: tuple[int, ...] = ()
    """CPUs to stay on; empty: any."""
    gpu: str | None = None
    """The one device to see, as CUDA_VISIBLE_DEVICES names it."""


def begin(slot: Slot, board: Any, folder: str) -> None:
    """Set up a fresh worker: its own process group, output to a file, threads, device, parent's death."""
    global _board, _folder, _number
    _board, _folder, _number = board, Path(folder), slot.number
    # A group of its own, so that the trial's children end with it, and Ctrl-C reaches only the runner.
    os.setsid()
    board[PID] = os.getpid()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    # Appending, so that the runner may cut the file while it is written.
    output = os.open(output_file(folder, slot.number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(slot.threads)
    if slot.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpu
    if slot.cpus and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, slot.cpus)
    # Loaded and looked up once, before the first trial's clock starts.
    from harness import environment
    from harness.execution import execute  # noqa: F401

    environment.environment(threads=slot.threads)


def output_file(folder: str | Path, number: int) -> Path:
    """Where a slot's standard output and error go."""
    return Path(folder) / f"worker-{number}.log"


def work(job: Any, folders: Any) -> str:
    """Execute a job; returns its record as JSON, ``@path`` of a file that holds it, or ``BUSY``."""
    from harness.execution.execute import TrialBusyError, execute

    _board[SHARE] = 0.0
    _board[TRIAL_PID] = os.getpid()
    _board[STARTED] = time.monotonic()
    os.truncate(output_file(_folder, _number), 0)

    def on_progress(share: float) -> None:
        _board[SHARE] = share

    try:
        text = execute(job, folders, on_progress, wait=False).model_dump_json()
    except TrialBusyError:
        return BUSY
    if len(text) <= PIPE_CHARACTERS:
        return text
    path = _folder / f"result-{_number}.json"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        return text
    return f"@{path}"


def _end_with_parent(parent: int) -> None:
    """End this process and its children when the runner is gone, also in the middle of a trial."""
    runner = parent_process()
    assert runner is not None
    # The sentinel tells at once; the parent's id also where another child still holds the pipe.
    while not connection.wait([runner.sentinel], timeout=0.5) and os.getppid() == parent:
        pass
    shutil.rmtree(_folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)

"""The process of one trial: begins fresh, does what its order says, leaves a result and ends.

An order lies as JSON in the folder of a slot, where its result, its progress and its output are left, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from harness.files import write_atomically

ORDER, RESULT, PROGRESS, OUTPUT = "order.json", "result.json", "progress", "output.log"
BUSY = "busy"
"""Left instead of a record where another process is at the trial."""
PR_SET_PDEATHSIG = 1


def main(folder: Path, parent: int) -> None:
    """Do what the folder's order says. Ends this process, whatever the trial left running or registered."""
    code = 1
    try:
        _begin(folder, parent)
        code = _work(folder)
    except BaseException:
        traceback.print_exc()
    finally:
        # Not by sys.exit: a trial's threads, exit handlers and open contexts have nothing more to say.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _begin(folder: Path, parent: int) -> None:
    """A group of its own, so that the trial's children end with it; an end with its parent; output to a file."""
    with contextlib.suppress(PermissionError):
        os.setpgid(0, 0)
    end_with(parent)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Appending, so that the runner may cut the file while it is written.
    output = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=False)


def end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, also in the midst of a trial that never yields."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _work(folder: Path) -> int:
    began = time.monotonic()

    def on_progress(share: float) -> None:
        with contextlib.suppress(OSError):
            (folder / PROGRESS).write_text(f"{began} {share}")

    on_progress(0.0)
    from harness.execution.execute import TrialBusyError, execute, leave, trial_lock
    from harness.execution.jobs import Folders, Job

    order = json.loads((folder / ORDER).read_bytes())
    job, folders = Job.model_validate(order["job"]), Folders.of(order["folders"])
    try:
        if "record" in order:
            from harness.execution.verification import verify
            from harness.records.record import Record

            with trial_lock(job, folders, wait=False):
                record = verify(job, folders, Record.model_validate(order["record"]))
                leave(job, folders, record)
        else:
            record = execute(job, folders, on_progress, wait=False)
        text = record.model_dump_json()
    except TrialBusyError:
        text = BUSY
    write_atomically(folder / RESULT, text.encode())
    return 0


def give_order(folder: Path, order: dict[str, Any]) -> None:
    """Leave an order for the next process, and nothing of the last one."""
    for name in (RESULT, PROGRESS, OUTPUT):
        (folder / name).unlink(missing_ok=True)
    (folder / ORDER).write_text(json.dumps(order), encoding="utf-8")


def remove(folder: Path) -> None:
    """Remove a slot's folder."""
    shutil.rmtree(folder, ignore_errors=True)

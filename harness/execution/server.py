"""A server starts a fresh process for each trial of a slot, and sees that it ends.

Where trials may be forked it has imported torch and the harness by then, so that a trial begins in milliseconds
with nothing that an earlier one left: the server runs no operator, which would start threads that do not survive
a fork, and never touches CUDA. Elsewhere each trial starts an interpreter of its own.

    runner -> server: start, stop (let it say where it hangs, then kill), kill
    server -> runner: ready; begun PID; exit CODE; stale FILES (edited since they were imported: it ends);
                      failed WHY (no process could be started)
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from harness import sources
from harness.execution import process

CAN_FORK = sys.platform == "linux"
"""Elsewhere system libraries may not survive a fork."""
DUMP_SECONDS = 0.2
"""Time given to a process to write where it hangs."""
BOOT = """
import importlib.util, json, sys
order = json.loads(sys.argv[1])
sys.path[:] = order["path"]
spec = importlib.util.spec_from_file_location("harness.sources", order["sources"])
kept = sys.modules["harness.sources"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kept)
kept.keep_what_is_read()
from harness.execution import server
getattr(server, order["call"])(**order["with"])
"""
"""Before anything else of the package is imported, what is read of it is kept."""


def command(call: str, **arguments: Any) -> list[str]:
    """The command of a new interpreter that calls a function of this module, with this one's import path."""
    order = {"path": sys.path, "sources": str(Path(str(sources.__file__))), "call": call, "with": arguments}
    return [sys.executable, *interpreter_flags(), "-c", BOOT, json.dumps(order)]


def interpreter_flags() -> list[str]:
    """Options of this interpreter that a child is to have, such as -S."""
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]


def serve(control: int, parent: int, folder: str, cpus: list[int], workloads: list[str] | None) -> None:
    """Serve the runner at the other end of this socket. ``workloads``: fork, with these imported; None: spawn."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cpus and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cpus)
    if workloads is not None:
        prepare(workloads)
    _Server(Connection(control), parent, Path(folder), workloads is not None).loop()


def spawned(folder: str, parent: int) -> None:
    """What a spawned process does."""
    process.main(Path(folder), parent)


def prepare(workloads: list[str]) -> None:
    """Import and look up, once, what each trial would: nothing here starts a thread or runs an operator."""
    # The first use of a torch optimizer imports the compiler's front, more than a second of every trial.
    import numpy.random  # noqa: F401
    import torch._dynamo
    import torch.optim  # noqa: F401

    from harness import environment, training  # noqa: F401
    from harness.execution import execute  # noqa: F401
    from harness.fingerprint import import_closure

    for module in sorted(import_closure(f"harness.workloads.{name}" for name in workloads)):
        if module.startswith("harness."):
            # What is not installed here is the affair of the trial that needs it.
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
    environment.environment()


class _Server:
    def __init__(self, control: Connection, parent: int, folder: Path, forks: bool) -> None:
        self.control, self.parent, self.folder, self.forks = control, parent, folder, forks
        self.child = 0
        # Ends of children and words of the runner are waited for together.
        self.wake, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        self.wakeup = wakeup
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def loop(self) -> None:
        """Serve until the runner is gone."""
        self.say("ready")
        while True:
            # The other end's closing tells at once; the parent's id also where another process still holds it.
            ready = wait([self.control, self.wake], timeout=0.5)
            if os.getppid() != self.parent:
                self.end()
            if self.wake in ready:
                self.wake.recv(4096)
            self.reap()
            if self.control in ready:
                try:
                    word = self.control.recv_bytes()
                except (EOFError, OSError):
                    self.end()
                self.obey(word)

    def obey(self, word: bytes) -> None:
        if word == b"start":
            self.start()
        elif self.child:
            if word == b"stop":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.child, signal.SIGUSR1)
                time.sleep(DUMP_SECONDS)
            self.kill()

    def start(self) -> None:
        if stale := sources.changed():
            self.say("stale", stale)
            self.end()
        here = os.getpid()
        try:
            if self.forks:
                self.child = os.fork()
                if self.child == 0:
                    self.control.close()
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    self.wake.close()
                    self.wakeup.close()
                    process.main(self.folder, here)
            else:
                words = command("spawned", folder=str(self.folder), parent=here)
                self.child = os.posix_spawn(words[0], words, os.environ, setpgroup=0, setsigdef=[signal.SIGINT])
        except OSError as error:
            self.say("failed", str(error))
            return
        # Also here: the group must exist before it can be ended.
        with contextlib.suppress(OSError):
            os.setpgid(self.child, self.child)
        self.say("begun", self.child)

    def reap(self) -> None:
        if not self.child:
            return
        pid, status = os.waitpid(self.child, os.WNOHANG)
        if pid:
            self.kill()
            self.child = 0
            self.say("exit", os.waitstatus_to_exitcode(status))

    def kill(self) -> None:
        """End the trial and what it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, signal.SIGKILL)

    def say(self, *message: Any) -> None:
        try:
            self.control.send_bytes(json.dumps(message).encode())
        except OSError:
            self.end()

    def end(self) -> None:
        if self.child:
            self.kill()
            os.waitpid(self.child, 0)
        process.remove(self.folder)
        os._exit(0)

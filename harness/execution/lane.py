"""The runner's side of a slot: its server, the job that it is at, and what becomes of it."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.execution import process, server
from harness.execution.execute import failed
from harness.execution.jobs import Folders, Job
from harness.execution.slots import Slot
from harness.execution.verification import is_due
from harness.records.record import Record, Status

START_SECONDS = 180.0
"""A trial that has not begun after this time is started again."""
START_ATTEMPTS = 3
STOP_SECONDS = 10.0
"""A server that does not end within this time, or does not end its trial, is killed."""
TAIL_BYTES = 8192
OUTPUT_BYTES = 16 * 2**20
"""A trial's output file is cut when it is longer."""
LOG = "server.log"

Event = tuple[Job, str, float, Record | None]
"""(job, kind, share of the work done, record if the job is over)."""


class Lane:
    """A slot, its server, and the job it is at."""

    def __init__(self, slot: Slot, forks: bool) -> None:
        self.slot, self.forks = slot, forks
        self.job: Job | None = None
        self.folders: Folders | None = None
        self.folder = Path()
        self.control: Connection | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._variables: dict[str, str] = {}
        self._ready = False
        self._pid = 0
        self._attempts = 0
        self._scheduled = self._began = self._share = 0.0
        self._stopped = 0.0
        self._announced = False
        self._record: Record | None = None
        """The trial's, while its losses are recomputed."""

    # --- the server ----------------------------------------------------------------------------------------

    def _open(self, workload: str) -> None:
        """Start a server; it says when it is ready."""
        self.close()
        self.folder = Path(tempfile.mkdtemp(prefix="harness-trial-"))
        self.control, theirs = multiprocessing.Pipe()
        self._variables = self.slot.environment()
        words = server.command(
            "serve", control=theirs.fileno(), parent=os.getpid(), folder=str(self.folder),
            cpus=list(self.slot.cpus), workloads=[workload] if self.forks else None,
        )  # fmt: skip
        with (self.folder / LOG).open("wb") as log:
            self._server = subprocess.Popen(
                words, env=self._variables, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )  # fmt: skip
        theirs.close()

    def stop(self) -> None:
        """Begin to end the server and its trial; ``close`` completes it."""
        if self.control is not None:
            self.control.close()
            self.control = None
        if self._server is not None and not self._ready:
            # It has no trial, and would hear only when its imports are done.
            self._server.kill()

    def close(self) -> None:
        """End the server and its trial."""
        self.stop()
        if self._server is not None:
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._kill_group()
            process.remove(self.folder)
        self._server, self._ready = None, False

    def discard(self) -> None:
        """Stop the running job without a record; the lane can be used again."""
        self.close()
        self.job = None

    def _kill_group(self) -> None:
        """End what a trial left behind whose server ended before it."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)
        self._pid = 0

    def _say(self, word: str) -> None:
        assert self.control is not None
        # A server that is gone is noticed when it is listened to.
        with contextlib.suppress(OSError):
            self.control.send_bytes(word.encode())

    def _heard(self) -> Iterator[list[Any]]:
        try:
            while self.control is not None and self.control.poll():
                yield json.loads(self.control.recv_bytes())
        except (EOFError, OSError):
            yield ["gone"]

    # --- a job ---------------------------------------------------------------------------------------------

    def start(self, job: Job, folders: Folders) -> None:
        """Run a job, starting the server if need be."""
        self.job, self.folders = job, folders
        self._attempts, self._announced, self._record = 0, False, None
        self._schedule()

    def _schedule(self) -> None:
        assert self.job is not None and self.folders is not None
        self._attempts += 1
        self._share = self._began = self._stopped = 0.0
        self._scheduled = time.monotonic()
        dead = self._server is None or self._server.poll() is not None
        if dead or self.control is None or self._variables != self.slot.environment():
            self._open(self.job.trial.workload)
        order: dict[str, Any] = {"job": self.job.model_dump(mode="json"), "folders": self.folders.plain()}
        if self._record is not None:
            order["record"] = self._record.model_dump(mode="json")
        process.give_order(self.folder, order)
        if self._ready:
            self._say("start")

    def poll(self) -> list[Event]:
        """What happened since the last call: events, the last of them with a record if the job is over."""
        if self.job is None:
            return []
        job, events = self.job, list[Event]()
        for word, *about in self._heard():
            events += self._progress()
            if word == "ready":
                self._ready = True
                self._say("start")
            elif word == "begun":
                self._pid = about[0]
            elif word == "stale":
                # Edited since the server imported it: the trial begins in a new one.
                self._attempts -= 1
                self._schedule_anew()
            elif word == "failed":
                events += self._again(f"no process could be started: {about[0]}")
            elif word == "exit":
                self._pid = 0
                return events + self._finish(about[0])
            elif word == "gone":
                return events + self._without_server()
        return events + (self._watch() if self.job is job else [])

    def _watch(self) -> list[Event]:
        """Progress, and the limits that the job is kept to."""
        assert self.job is not None
        events, now, limit = self._progress(), time.monotonic(), self.job.timeout_seconds
        self._cut_output()
        if self._began and limit and now - self._began > limit and not self._stopped:
            self._stopped = now
            self._say("stop")
        elif self._stopped and now - self._stopped > STOP_SECONDS:
            self.close()
            events.append(self._over(self._death("signal 9")))
        elif not self._began and now - self._scheduled > START_SECONDS:
            self.close()
            events += self._again(f"the trial did not begin within {START_SECONDS:.0f} s")
        return events

    def _progress(self) -> list[Event]:
        assert self.job is not None
        try:
            began, share = map(float, (self.folder / process.PROGRESS).read_text().split())
        except (OSError, ValueError):
            return []  # not begun, or being written
        events: list[Event] = []
        self._began = began
        if not self._announced:
            self._announced = True
            events.append((self.job, "started", 0.0, None))
        if share != self._share:
            self._share = share
            events.append((self.job, "progress", share, None))
        return events

    def last_words(self) -> list[tuple[Job, str, float, Record]]:
        """The record of a job that has finished but was not polled; a running one has none."""
        done = any(word == "exit" and about[0] == 0 for word, *about in self._heard())
        record = self._received() if done else None
        if self.job is None or record is None or (self._record is None and is_due(self.job, record)):
            return []
        job, kind, share, _ = self._over(record)
        return [(job, kind, share, record)]

    # --- ends ----------------------------------------------------------------------------------------------

    def _finish(self, code: int) -> list[Event]:
        assert self.job is not None
        if code or self._stopped:
            return [self._over(self._death(_exit(code)))]
        try:
            record = self._received()
        except (OSError, ValueError):
            return [self._over(self._death(_exit(code)))]
        if record is not None and self._record is None and is_due(self.job, record):
            self._record, self._attempts = record, 0
            self._schedule()
            return []
        if record is not None:
            return [self._over(record)]
        job, self.job = self.job, None
        return [(job, "waiting", 0.0, None)]

    def _received(self) -> Record | None:
        """The record that the trial left, or None if another process is at it."""
        text = (self.folder / process.RESULT).read_text(encoding="utf-8")
        return None if text == process.BUSY else Record.model_validate_json(text)

    def _without_server(self) -> list[Event]:
        assert self._server is not None
        how = f"its server ended with {_exit(self._server.wait(STOP_SECONDS))}"
        if self._began:
            record = self._death(how)
            self.close()
            return [self._over(record)]
        tail = _tail(self.folder / LOG)
        return self._again(f"{how}\nLast lines of its output:\n{tail}" if tail else how)

    def _schedule_anew(self) -> None:
        self.close()
        self._schedule()

    def _again(self, reason: str) -> list[Event]:
        if self._attempts < START_ATTEMPTS:
            self._schedule_anew()
            return []
        return [self._over(self._failure("crashed", reason))]

    def _over(self, record: Record) -> Event:
        assert self.job is not None
        job, self.job = self.job, None
        return job, record.status, 1.0, record

    def _death(self, how: str) -> Record:
        assert self.job is not None
        if self._stopped:
            return self._failure("timed_out", f"stopped after {self.job.timeout_seconds:g} s")
        return self._failure("crashed", f"the trial's process ended with {how}")

    def _failure(self, status: Status, reason: str) -> Record:
        assert self.job is not None
        if self._record is not None:
            reason = f"its losses could not be recomputed from its weights: {reason}"
        tail = _tail(self.folder / process.OUTPUT)
        told = f"{reason}\nLast lines of its output:\n{tail}" if tail else reason
        return failed(self.job, status, told, time.monotonic() - (self._began or self._scheduled))

    def _cut_output(self) -> None:
        path = self.folder / process.OUTPUT
        with contextlib.suppress(OSError):
            if path.stat().st_size > OUTPUT_BYTES:
                os.truncate(path, 0)


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-20:]).strip()


def _exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    hint = "; the system kills so when memory runs out" if name == "SIGKILL" else ""
    return f"signal {-code} ({name}{hint})"

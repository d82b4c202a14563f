"""Trials in persistent worker processes on this machine, one a slot.

Slots are groups of CPU threads, or GPUs. A worker that dies takes only its trial with it; a trial that hangs
is stopped with its children; workers end when the runner does.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from harness.environment import available_cpus, cpu_slots
from harness.errors import HarnessError
from harness.execution.execute import failed
from harness.execution.executors import OnEvent
from harness.execution.jobs import Folders, Job
from harness.execution.worker import BUSY, PID, SHARE, STARTED, TRIAL_PID, Slot, begin, output_file, work
from harness.records.record import Record, Status

POLL_SECONDS = 0.1
BUSY_SECONDS = 1.0
"""How long to leave a trial alone that another runner is at."""
START_SECONDS = 180.0
"""A worker that has not begun its trial after this time is replaced."""
START_ATTEMPTS = 3
TAIL_BYTES = 8192
OUTPUT_BYTES = 16 * 2**20
"""A worker's output file is cut when it is longer."""
Key = tuple[str, int]
"""Device kind and threads of a trial: what the machine is divided by."""


class LocalExecutor:
    """Runs jobs in worker processes; longest first, timing trials alone and in the order given.

    ``workers`` limits how many run at once (default: CPUs / threads of a trial, or GPUs);
    ``trials_per_gpu`` lets several share one GPU. Workers stay between calls until ``close``.
    """

    def __init__(self, workers: int | None = None, trials_per_gpu: int = 1) -> None:
        if workers is not None and workers < 1:
            raise HarnessError(f"workers: got {workers}; give a number from 1 on")
        self.limit = workers
        self.capacity = workers or cpu_slots()
        """How many run at once, as far as known before the first trials are."""
        self.trials_per_gpu = trials_per_gpu
        self._lanes: dict[Key, list[_Lane]] = {}

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, jobs: Sequence[Job], folders: Folders, on_event: OnEvent
    ) -> Iterator[tuple[Job, Record]]:
        """Yield each job with its record as it finishes.

        SIGINT and SIGTERM stop what runs (its checkpoints stay); what is finished is yielded first.
        """
        shared: dict[Key, list[Job]] = {}
        for job in jobs:
            if not job.exclusive:
                shared.setdefault(_key(job), []).append(job)
        with _Interrupts() as interrupts:
            for key, group in shared.items():
                ordered = sorted(group, key=lambda t: -t.expected_seconds)
                yield from self._drain(ordered, folders, self._prepare(key), on_event, interrupts)
            for job in jobs:
                if job.exclusive:
                    yield from self._drain([job], folders, self._prepare(_key(job))[:1], on_event, interrupts)
            if interrupts.received:
                self.close()
                interrupts.pass_on()

    def close(self) -> None:
        """End every worker."""
        lanes = [lane for group in self._lanes.values() for lane in group]
        self._lanes = {}
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join()

    def _prepare(self, key: Key) -> list[_Lane]:
        """The lanes for trials of this kind; those of another kind are closed, since they would share cores."""
        if key not in self._lanes:
            self.close()
            self._lanes[key] = [_Lane(slot) for slot in divide(*key, self.limit, self.trials_per_gpu)]
            self.capacity = len(self._lanes[key])
        return self._lanes[key]

    def _drain(
        self, jobs: Sequence[Job], folders: Folders, lanes: list[_Lane], on_event: OnEvent, interrupts: _Interrupts
    ) -> Iterator[tuple[Job, Record]]:
        waiting = deque(jobs)
        elsewhere: list[tuple[float, Job]] = []
        done: queue.SimpleQueue[None] = queue.SimpleQueue()
        try:
            while not interrupts.received and (waiting or elsewhere or any(lane.job for lane in lanes)):
                now = time.monotonic()
                waiting.extend(job for due, job in elsewhere if due <= now)
                elsewhere = [(due, job) for due, job in elsewhere if due > now]
                for lane in lanes:
                    if waiting and not lane.job:
                        lane.start(waiting.popleft(), folders, done)
                with contextlib.suppress(queue.Empty):
                    done.get(timeout=POLL_SECONDS)
                for lane in lanes:
                    for job, kind, share, record in lane.poll(done):
                        if kind == "waiting":
                            elsewhere.append((time.monotonic() + BUSY_SECONDS, job))
                        on_event(job, kind, share)
                        if record is not None:
                            yield job, record
            if interrupts.received:
                for lane in lanes:
                    for job, kind, share, record in lane.last_words():
                        on_event(job, kind, share)
                        yield job, record
        finally:
            # Also when the caller stops listening.
            for lane in lanes:
                if lane.job:
                    lane.discard()


def _key(job: Job) -> Key:
    return job.device.partition(":")[0], job.threads


def divide(device: str, threads: int, limit: int | None = None, trials_per_gpu: int = 1) -> list[Slot]:
    """The machine's slots for trials on this device kind with so many CPU threads each."""
    if device == "cuda":
        names = [name for name in visible_gpus() for _ in range(trials_per_gpu)] or [""]
        return [Slot(n, threads, gpu=name or None) for n, name in enumerate(names[:limit])]
    cpus, allowed = available_cpus(), cpu_slots()
    count = limit or max(1, allowed // threads)
    # Under a quota, or with more trials than cores, the system's scheduler knows better than a fixed place.
    pinned = allowed == len(cpus) and count * threads <= len(cpus)
    return [
        Slot(n, threads, tuple(cpus[n * threads : (n + 1) * threads]) if pinned else ()) for n in range(count)
    ]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() and name.strip() != "-1"]
    import torch

    return [str(n) for n in range(torch.cuda.device_count())]


Event = tuple[Job, str, float, Record | None]


class _Lane:
    """A slot, its worker process, and the job it is at."""

    def __init__(self, slot: Slot) -> None:
        self.folders: Folders | None = None
        self.slot = slot
        self.job: Job | None = None
        self.folder = ""
        self.context = multiprocessing.get_context("spawn")
        self.board: Any = self.context.RawArray("d", 4)
        self.pool: ProcessPool | None = None
        self.future: ProcessFuture | None = None
        self.attempts = 0
        self.scheduled = self.began = 0.0
        self.share = 0.0
        self.gone_since: float | None = None
        self.timed_out = self.announced = False

    # --- life of the worker --------------------------------------------------------------------------------

    def start(self, job: Job, folders: Folders, done: queue.SimpleQueue[None]) -> None:
        """Hand a job to the worker, starting it if need be."""
        self.job, self.folders, self.attempts, self.announced = job, folders, 0, False
        self.began = time.monotonic()
        self._schedule(done)

    def _schedule(self, done: queue.SimpleQueue[None]) -> None:
        # A worker killed while idle breaks its pool.
        if self.pool is None or not self.pool.active:
            self._replace()
        assert self.pool is not None
        self.attempts += 1
        self.board[TRIAL_PID] = self.board[STARTED] = self.board[SHARE] = 0.0
        self.share, self.gone_since, self.timed_out = 0.0, None, False
        self.scheduled = time.monotonic()
        self.future = self.pool.schedule(work, args=(self.job, self.folders))
        self.future.add_done_callback(lambda _: done.put(None))

    def _replace(self) -> None:
        self.stop()
        self.join(keep_folder=True)
        self.board[PID] = self.board[TRIAL_PID] = 0
        self.folder = self.folder or tempfile.mkdtemp(prefix="harness-worker-")
        self.pool = ProcessPool(
            max_workers=1, initializer=begin, initargs=(self.slot, self.board, self.folder), context=self.context
        )

    def kill(self, which: int = TRIAL_PID) -> None:
        """End the worker that began the trial (or the newest, with ``PID``) and its children at once."""
        pid = int(self.board[which])
        if pid > 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Begin to end the worker; ``join`` completes it."""
        if self.pool is not None:
            self.pool.stop()
            self.kill()
            self.kill(PID)

    def join(self, keep_folder: bool = False) -> None:
        """Wait until the worker has ended."""
        if self.pool is not None:
            self.pool.join()
            self.kill(PID)
            self.pool = None
        if self.folder and not keep_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def discard(self) -> None:
        """Stop the running job without a record; the lane can be used again."""
        self.stop()
        self.join(keep_folder=True)
        self.job = self.future = None

    # --- what the worker is at -----------------------------------------------------------------------------

    def poll(self, done: queue.SimpleQueue[None]) -> list[Event]:
        """What happened since the last call: events, the last of them with a record if the job is over."""
        if self.job is None or self.future is None:
            return []
        events: list[Event] = []
        now = time.monotonic()
        begun = self.board[STARTED]
        if begun and not self.announced:
            self.announced = True
            events.append((self.job, "started", 0.0, None))
        if self.future.done():
            return events + self._finish(done)
        if self.board[SHARE] != self.share:
            self.share = self.board[SHARE]
            events.append((self.job, "progress", self.share, None))
        self._cut_output()
        limit = self.job.timeout_seconds
        if begun and self._vanished(now):
            # It left with exit code 0: the pool would wait for it in vain.
            self._reset()
            return [*events, self._over(self._death("exit code 0"))]
        if begun and limit and now - begun > limit and self.gone_since is None and not self.timed_out:
            self.timed_out = True
            self._ask_where()
            self.kill()
        elif not begun and now - self.scheduled > START_SECONDS:
            self._reset()
            return events + self._retry(f"the worker did not begin within {START_SECONDS:.0f} s", done)
        return events

    def last_words(self) -> list[tuple[Job, str, float, Record]]:
        """The record of a job that has finished but was not polled; a running one has none."""
        if self.job and self.future and self.future.done() and self.future.exception() is None:
            record = self._received()
            if record is not None:
                job, self.job = self.job, None
                return [(job, record.status, 1.0, record)]
        return []

    def _finish(self, done: queue.SimpleQueue[None]) -> list[Event]:
        assert self.job is not None and self.future is not None
        error = self.future.exception()
        if error is None:
            record = self._received()
            if record is None:
                job, self.job = self.job, None
                return [(job, "waiting", 0.0, None)]
            if record.status in ("crashed", "out_of_memory") and self.slot.gpu is not None:
                # An error on the device may leave its context unusable for every later trial.
                self._reset()
            return [self._over(record)]
        self.kill()
        if self.timed_out or isinstance(error, ProcessExpired):
            return [self._over(self._death(_exit(getattr(error, "exitcode", None))))]
        if not self.board[STARTED]:
            self._reset()
            return self._retry(f"the worker did not start: {error}", done)
        self._reset()
        return [self._over(self._failure("crashed", f"{type(error).__name__}: {error}"))]

    def _received(self) -> Record | None:
        """The worker's record, or None if another process is at the trial."""
        assert self.future is not None
        text: str = self.future.result()
        if text == BUSY:
            return None
        if text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        return Record.model_validate_json(text)

    def _retry(self, reason: str, done: queue.SimpleQueue[None]) -> list[Event]:
        if self.attempts < START_ATTEMPTS:
            self._schedule(done)
            return []
        return [self._over(self._failure("crashed", reason))]

    def _over(self, record: Record) -> Event:
        assert self.job is not None
        job, self.job, self.future = self.job, None, None
        return job, record.status, 1.0, record

    def _death(self, how: str) -> Record:
        assert self.job is not None
        if self.timed_out:
            return self._failure("timed_out", f"stopped after {self.job.timeout_seconds:g} s")
        return self._failure("crashed", f"the worker ended with {how}")

    def _failure(self, status: Status, reason: str) -> Record:
        assert self.job is not None
        tail = self._tail()
        told = f"{reason}\nLast lines of its output:\n{tail}" if tail else reason
        return failed(self.job, status, told, time.monotonic() - (self.board[STARTED] or self.began))

    def _reset(self) -> None:
        self.stop()
        self.join(keep_folder=True)

    def _vanished(self, now: float) -> bool:
        """Whether the process is gone for a second without the pool noticing."""
        try:
            os.kill(int(self.board[TRIAL_PID]), 0)
        except ProcessLookupError:
            self.gone_since = self.gone_since or now
            return now - self.gone_since > 1.0
        except PermissionError:
            pass
        return False

    def _ask_where(self) -> None:
        """Let the hung worker write its stack to its output."""
        with contextlib.suppress(OSError):
            os.kill(int(self.board[TRIAL_PID]), signal.SIGUSR1)
            time.sleep(0.2)

    def _tail(self) -> str:
        try:
            with output_file(self.folder, self.slot.number).open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(0, size - TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-20:]).strip()

    def _cut_output(self) -> None:
        path = output_file(self.folder, self.slot.number)
        with contextlib.suppress(OSError):
            if path.stat().st_size > OUTPUT_BYTES:
                os.truncate(path, 0)


def _exit(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    hint = "; the system kills so when memory runs out" if name == "SIGKILL" else ""
    return f"signal {-code} ({name}{hint})"


class _Interrupts:
    """SIGINT and SIGTERM, noted for a clean stop; a second one interrupts at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number

    def pass_on(self) -> None:
        """Raise what the signal would have."""
        if self.received == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


build = LocalExecutor

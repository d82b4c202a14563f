"""Jobs through lanes until none is left, with an ear for signals."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

from harness.execution.executors import OnEvent
from harness.execution.jobs import Folders, Job
from harness.execution.lane import Lane
from harness.exit_codes import TERMINATED
from harness.records.record import Record

POLL_SECONDS = 0.1
BUSY_SECONDS = 1.0
"""How long to leave a trial alone that another runner is at."""


class Interrupts:
    """SIGINT and SIGTERM, noted for a clean stop; a second one interrupts at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
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
        """Raise what the signal would have, if there was one."""
        if self.received == signal.SIGTERM:
            raise SystemExit(TERMINATED)
        if self.received is not None:
            raise KeyboardInterrupt


def drain(
    jobs: Sequence[Job], folders: Folders, lanes: Sequence[Lane], on_event: OnEvent, interrupts: Interrupts
) -> Iterator[tuple[Job, Record]]:
    """Yield each job with its record as it finishes; jobs begin in the order given.

    Interrupted, or when the caller stops listening, what runs is stopped; what is finished is yielded first.
    """
    waiting = deque(jobs)
    elsewhere: list[tuple[float, Job]] = []
    try:
        while not interrupts.received and (waiting or elsewhere or any(lane.job for lane in lanes)):
            now = time.monotonic()
            waiting.extend(job for due, job in elsewhere if due <= now)
            elsewhere = [(due, job) for due, job in elsewhere if due > now]
            for lane in lanes:
                if waiting and not lane.job:
                    lane.start(waiting.popleft(), folders)
            wait([lane.control for lane in lanes if lane.job and lane.control], timeout=POLL_SECONDS)
            for lane in lanes:
                for job, kind, share, record in lane.poll():
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
        running = [lane for lane in lanes if lane.job]
        for lane in running:
            lane.stop()
        for lane in running:
            lane.discard()

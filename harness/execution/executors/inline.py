"""One trial after another in this process: for debugging, tests and machines with nothing but torch."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from harness.execution.execute import execute
from harness.execution.executors import OnEvent
from harness.execution.jobs import Folders, Job
from harness.records.record import Record


class InlineExecutor:
    """Runs jobs in the order given. A timeout is not kept: nothing here could stop the trial."""

    capacity = 1
    """How many jobs run at once."""

    def run(
        self, jobs: Sequence[Job], folders: Folders, on_event: OnEvent
    ) -> Iterator[tuple[Job, Record]]:
        """Yield each job with its record. SIGTERM ends it as Ctrl-C does, then raises SystemExit(143)."""
        for job in jobs:
            on_event(job, "started", 0.0)
            with _terminable():
                record = execute(job, folders, lambda share, job=job: on_event(job, "progress", share))  # type: ignore[misc]
            on_event(job, record.status, 1.0)
            yield job, record

    def close(self) -> None:
        """Nothing to end."""


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM interrupts the trial like Ctrl-C: otherwise it would end the process without unwinding."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = []

    def handler(number: int, frame: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    except KeyboardInterrupt:
        if received:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


build = InlineExecutor

"""Executors: where and when trials run. The seam, and how a name becomes one.

An executor turns tasks into records in whatever order they finish. It never raises for a trial: each task
that ran yields one record. Interrupted, it stops what runs, yields what is finished and raises
KeyboardInterrupt (SIGINT) or SystemExit (SIGTERM); then tasks without a record have not been completed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from harness.errors import unknown
from harness.execution.execute import Task
from harness.records.record import Record

OnEvent = Callable[[Task, str, float], None]
"""Called in the runner's thread with (task, kind, share of the work done). Kinds: "started", "progress",
"waiting" (another process runs this trial; it will be tried again), and a record's status at the end."""

NAMES = ("inline", "local")


class Executor(Protocol):
    """Runs tasks; may keep workers between calls until ``close``."""

    def run(self, tasks: Sequence[Task], on_event: OnEvent) -> Iterator[tuple[Task, Record]]:
        """Yield each task with its record as it finishes."""
        ...

    def close(self) -> None:
        """End every worker. Calling it twice is harmless."""
        ...


def executor(name: str, **options: Any) -> Executor:
    """The executor of this name: "inline", or "local" with ``workers`` and ``trials_per_gpu``."""
    if name == "inline":
        from harness.execution.executors.inline import InlineExecutor

        return InlineExecutor()
    if name == "local":
        from harness.execution.executors.local import LocalExecutor

        return LocalExecutor(**options)
    raise unknown("executor", name, NAMES)


__all__ = ["NAMES", "Executor", "OnEvent", "executor"]

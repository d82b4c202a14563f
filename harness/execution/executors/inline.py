"""One trial after another in the order given, on any CPU: for tests and machines with nothing but torch.

Each has a process of its own here, too: what one does to its process, no other meets. For a debugger, call
``harness.execution.execute.execute``, which runs a job in this very process.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from harness.execution.drain import Interrupts, drain
from harness.execution.executors import OnEvent
from harness.execution.jobs import Folders, Job
from harness.execution.lane import Lane
from harness.execution.server import CAN_FORK
from harness.execution.slots import Slot
from harness.records.record import Record


class InlineExecutor:
    """Runs jobs one by one. SIGINT and SIGTERM stop the one that runs; its checkpoint stays."""

    capacity = 1
    """How many jobs run at once."""

    def run(self, jobs: Sequence[Job], folders: Folders, on_event: OnEvent) -> Iterator[tuple[Job, Record]]:
        """Yield each job with its record."""
        with Interrupts() as interrupts:
            for (device, threads), group in itertools.groupby(jobs, lambda job: (job.device, job.threads)):
                lane = Lane(Slot(0, threads), forks=CAN_FORK and device == "cpu")
                try:
                    yield from drain(list(group), folders, [lane], on_event, interrupts)
                finally:
                    lane.close()
            interrupts.pass_on()

    def close(self) -> None:
        """Nothing is left between calls."""


build = InlineExecutor

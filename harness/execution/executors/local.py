"""Trials on this machine, each in a process of its own, as many at once as there are slots for them.

Slots are groups of CPU threads, or GPUs. A trial that dies takes nothing with it; one that hangs is stopped with
its children; all end when the runner does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.environment import cpu_slots
from harness.errors import HarnessError
from harness.execution.drain import Interrupts, drain
from harness.execution.executors import OnEvent
from harness.execution.jobs import Folders, Job
from harness.execution.lane import Lane
from harness.execution.server import CAN_FORK
from harness.execution.slots import divide
from harness.records.record import Record

Key = tuple[str, int]
"""Device kind and threads of a trial: what the machine is divided by."""


class LocalExecutor:
    """Runs jobs side by side; longest first, timing trials alone and in the order given.

    ``workers`` limits how many run at once (default: CPUs / threads of a trial, or GPUs);
    ``trials_per_gpu`` lets several share one GPU. On CPUs under Linux each trial is forked from a process that
    has imported what it needs; ``fork=False`` starts an interpreter for each, as elsewhere.
    """

    def __init__(self, workers: int | None = None, trials_per_gpu: int = 1, fork: bool = True) -> None:
        if workers is not None and workers < 1:
            raise HarnessError(f"workers: got {workers}; give a number from 1 on")
        self.limit = workers
        self.capacity = workers or cpu_slots()
        """How many run at once, as far as known before the first trials are."""
        self.trials_per_gpu = trials_per_gpu
        self.fork = fork and CAN_FORK
        self._lanes: dict[Key, list[Lane]] = {}

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, jobs: Sequence[Job], folders: Folders, on_event: OnEvent) -> Iterator[tuple[Job, Record]]:
        """Yield each job with its record as it finishes.

        SIGINT and SIGTERM stop what runs (its checkpoints stay); what is finished is yielded first.
        """
        shared: dict[Key, list[Job]] = {}
        for job in jobs:
            if not job.exclusive:
                shared.setdefault(_key(job), []).append(job)
        with Interrupts() as interrupts:
            for key, group in shared.items():
                ordered = sorted(group, key=lambda j: -j.expected_seconds)
                yield from drain(ordered, folders, self._prepare(key), on_event, interrupts)
            for job in jobs:
                if job.exclusive:
                    yield from drain([job], folders, self._prepare(_key(job))[:1], on_event, interrupts)
            if interrupts.received:
                self.close()
                interrupts.pass_on()

    def close(self) -> None:
        """End every process."""
        lanes = [lane for group in self._lanes.values() for lane in group]
        self._lanes = {}
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.close()

    def _prepare(self, key: Key) -> list[Lane]:
        """The lanes for trials of this kind; those of another kind are closed, since they would share cores."""
        if key not in self._lanes:
            self.close()
            forks = self.fork and key[0] == "cpu"
            self._lanes[key] = [Lane(slot, forks) for slot in divide(*key, self.limit, self.trials_per_gpu)]
            self.capacity = len(self._lanes[key])
        return self._lanes[key]


def _key(job: Job) -> Key:
    return job.device.partition(":")[0], job.threads


build = LocalExecutor

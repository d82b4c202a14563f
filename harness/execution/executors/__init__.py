"""Executors: where and when trials run. One module each, found by file name.

``harness/execution/executors/<name>.py`` offers ``build(**options) -> Executor``. An executor turns jobs into
records in whatever order they finish. It never raises for a trial: each job that ran yields one record.
Interrupted, it stops what runs, yields what is finished and raises KeyboardInterrupt (SIGINT) or SystemExit
(SIGTERM); then jobs without a record have not been completed.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from harness.errors import HarnessError, unknown
from harness.execution.jobs import Folders, Job
from harness.records.record import Record

OnEvent = Callable[[Job, str, float], None]
"""Called in the runner's thread with (job, kind, share of the work done). Kinds: "started", "progress",
"waiting" (another process runs this trial; it will be tried again), and a record's status at the end."""


class Executor(Protocol):
    """Runs jobs; may keep processes between calls until ``close``."""

    capacity: int
    """How many jobs run at once, as far as known."""

    def run(self, jobs: Sequence[Job], folders: Folders, on_event: OnEvent) -> Iterator[tuple[Job, Record]]:
        """Yield each job with its record as it finishes."""
        ...

    def close(self) -> None:
        """End every process. Calling it twice is harmless."""
        ...


def names() -> list[str]:
    """Names of the executors that ship."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def executor(name: str, **options: Any) -> Executor:
    """The executor of this name. Raises UnknownNameError for a name or an option that it does not have."""
    if name not in names():
        raise unknown("executor", name, names())
    build = importlib.import_module(f"{__name__}.{name}").build
    known = list(inspect.signature(build).parameters)
    for option in options:
        if option not in known and known:
            raise unknown(f"option of executor {name!r}", option, known)
        if option not in known:
            raise HarnessError(f"executor {name!r} has no options; leave out {', '.join(options)}")
    return build(**options)


__all__ = ["Executor", "OnEvent", "executor", "names"]

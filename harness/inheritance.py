"""What a process hands to those that it starts, kept as it was while a user's code runs in it."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

LIMITS = [value for name, value in vars(resource).items() if name.startswith("RLIMIT_")]


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Variables, current folder, mask of new files, limits and processors are afterwards what they were, as far as
    the system lets them be raised again.
    """
    variables, mask = dict(os.environ), _mask()
    # "." where the folder is gone: there is no way back to it.
    folder = Path.cwd() if Path().exists() else Path()
    limits = {kind: resource.getrlimit(kind) for kind in LIMITS}
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    try:
        yield
    finally:
        if dict(os.environ) != variables:
            os.environ.clear()
            os.environ.update(variables)
        os.umask(mask)
        with contextlib.suppress(OSError):
            os.chdir(folder)
        for kind, limit in limits.items():
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, limit)
        if cpus is not None and os.sched_getaffinity(0) != cpus:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, cpus)


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""What the terminal shows while something is under way: that it goes on, or how many bytes are done.

Answers go to stdout, which may be a pipe, and is left alone: they are printed when nothing is shown any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextlib.contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Says on a terminal what goes on, and for how long; yields a function that says what of it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda part: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=None)
        yield lambda part: bar.update(task, description=f"{what}: {part}")


@contextlib.contextmanager
def bytes_done(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of bytes on a terminal; yields a function of (bytes done, bytes in all)."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(True), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

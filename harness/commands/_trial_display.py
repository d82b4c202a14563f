"""What the terminal shows of a run: a bar with what runs and what is left; or lines, for logs."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness import runner
from harness.commands._options import complain
from harness.numbers import duration
from harness.planning.states import Item
from harness.records.record import FINISHED, Record


class TrialBar(runner.Watcher):
    """For a terminal: trials done, what runs, failures, time left."""

    def __init__(self, console: Console, workers: int):
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=False,
        )
        self.workers = workers
        self.task = self.bar.add_task("planning", total=None, left="")
        self.running: dict[str, float] = {}
        self.failed = 0
        self.more = 0
        self.seconds_left = 0.0
        self.share = 0.0
        """Seconds of one trial of this round, on average."""

    def round(self, number: int, pending: Sequence[Item], more: int, seconds: float) -> None:
        done = self.bar.tasks[0].completed
        self.seconds_left, self.more = seconds, more
        self.share = seconds / max(len(pending), 1)
        self.bar.update(self.task, total=done + len(pending), description=f"round {number}")
        self._draw()

    def event(self, kind: str, label: str, share: float) -> None:
        if kind in ("started", "progress"):
            self.running[label] = share
        else:
            self.running.pop(label, None)
        self._draw()

    def stored(self, label: str, record: Record) -> None:
        self.running.pop(label, None)
        said = None
        if record.status not in FINISHED:
            self.failed += 1
            said = f"{record.status}: {label}: {_last_line(record.reason)}"
        elif record.status == "diverged":
            said = f"diverged: {label} at step {record.diverged_step}"
        if said:
            self.bar.console.print(said, style="yellow" if record.status == "diverged" else "red",
                                   highlight=False, markup=False)  # fmt: skip
        self.seconds_left = max(self.seconds_left - self.share, 0.0)
        self.bar.advance(self.task)
        self._draw()

    def _draw(self) -> None:
        now = ", ".join(
            f"{label.partition(' ')[2]} {share:.0%}" for label, share in sorted(self.running.items())[:2]
        )
        extra = f" (+ up to {self.more})" if self.more else ""
        failed = f", {self.failed} failed" if self.failed else ""
        left = f"about {duration(self.seconds_left / self.workers)} left{extra}"
        self.bar.update(self.task, left=f"{left}{failed}  {now}")


class Lines(runner.Watcher):
    """For logs: a line a round, a line a failure; ``quiet`` leaves only the failures."""

    def __init__(self, quiet: bool):
        self.quiet = quiet

    def round(self, number: int, pending: Sequence[Item], more: int, seconds: float) -> None:
        if not self.quiet:
            typer.echo(
                f"round {number}: {len(pending)} trials, up to {more} more, about {duration(seconds)} of one worker"
            )

    def stored(self, label: str, record: Record) -> None:
        if record.status not in FINISHED:
            complain(f"{record.status}: {label}: {record.reason.strip()[-400:]}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]

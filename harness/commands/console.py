"""What the terminal shows of planning and running: tables, progress, questions of housekeeping."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from harness import runner
from harness.commands.exit_codes import INTERRUPTED, OK, TRIAL_FAILED
from harness.errors import HarnessError
from harness.numbers import duration
from harness.planning.compose import parse_only
from harness.planning.durations import estimate_seconds
from harness.planning.plan import Plan
from harness.planning.states import STATES, Item
from harness.planning.suite import Suite
from harness.records.accepted import accept, accepted_file
from harness.records.plans import load_rows, read_plan
from harness.records.record import FINISHED, Record, RecordSet, Row, code_of
from harness.records.store import Store

if TYPE_CHECKING:
    from harness.execution.executors import Executor


def _plans(suites: Sequence[Suite], results: Path, only: str | None) -> tuple[Store, list[Plan], RecordSet]:
    store = Store(results)
    records = store.load()
    for note in records.notes:
        typer.secho(note, fg="yellow", err=True)
    kept = parse_only(only, suites[0]) if only else None
    return store, runner.plan_all(suites, records, store, kept), records


def plan_command(
    suites: Sequence[Suite],
    results: Path,
    only: str | None,
    as_json: bool,
    export: Path | None,
    details: bool,
) -> None:
    """Print (or export) what a run would do."""
    store, plans, records = _plans(suites, results, only)
    if export:
        from harness import exchange

        count = exchange.export_round(plans, store, export)
        typer.echo(f"{export}: {count} trials; on the other machine: harness execute {export.name}")
        return
    if as_json:
        typer.echo(json.dumps([_plan_as_json(p, records) for p in plans], indent=1, allow_nan=False))
        return
    for plan in plans:
        _print_plan(plan, records, details)


def _plan_as_json(plan: Plan, records: RecordSet) -> dict[str, Any]:
    seconds = estimate_seconds(plan.items, records)
    return {
        "suite": plan.suite.name,
        "profile": plan.suite.profile,
        **plan.counts(),
        "up_to_more": plan.more,
        "notes": plan.notes,
        "expected": power_lines(plan.suite),
        "trials": [
            {
                "identity": i.planned.trial.identity,
                "arm": i.planned.arm,
                "cell": i.planned.cell,
                "role": i.planned.role,
                "seed": i.planned.trial.seed,
                "hyperparameters": i.planned.hyperparameters,
                "state": i.state,
                "why": i.why,
                "flops": i.flops,
                "estimated_seconds": round(s, 2),
            }
            for i, s in zip(plan.items, seconds, strict=True)
        ],
    }


def power_lines(suite: Suite) -> list[str]:
    """What the confirmatory claims could see with the planned seeds, from the committed noise table."""
    from harness.commands import checks

    return checks.expected_effects(suite)


def _print_plan(plan: Plan, records: RecordSet, details: bool) -> None:
    console = Console()
    counts = plan.counts()
    waiting = f", of them {n} waiting for trials that they need" if (n := counts["waiting"]) else ""
    pending = plan.pending
    seconds = sum(estimate_seconds(pending, records))
    flops = sum(i.flops for i in pending)
    console.print(
        f"[bold]{plan.suite.name}[/] profile={plan.suite.profile}: {counts['done']} done, {counts['stale']} stale, "
        f"{counts['missing']} missing, {counts['failed']} failed, up to {plan.more} more{waiting}; "
        f"pending {flops:.2g} FLOPs, about {duration(seconds)} of one worker",
        highlight=False,
    )
    reasons: dict[str, int] = {}
    for item in pending:
        if item.why:
            reasons[f"{item.state}: {item.why}"] = reasons.get(f"{item.state}: {item.why}", 0) + 1
    for reason, count in reasons.items():
        console.print(f"  {count} x {reason}", highlight=False, markup=False)
    for note in [*plan.notes, *power_lines(plan.suite)]:
        console.print(f"  note: {note}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for column in ("arm", "cell", "role", *STATES):
        table.add_column(column)
    groups: dict[tuple[str, str, str], dict[str, int]] = {}
    for i in plan.items:
        key: tuple[str, str, str] = (
            i.planned.arm,
            " ".join(f"{k}={v}" for k, v in i.planned.cell.items()),
            i.planned.role,
        )
        states = groups.setdefault(key, dict.fromkeys(STATES, 0))
        states[i.state] += 1
    if not details:
        for group, states in groups.items():
            table.add_row(*group, *(str(n) if n else "" for n in states.values()))
        console.print(table)
        return
    for item in plan.items:
        typer.echo(
            f"  {item.state:<8}{item.planned.trial.identity[:12]}  {runner.label_of(item)}"
            f"{'  ' + item.why if item.why else ''}"
        )


# --- running -----------------------------------------------------------------------------------------------


class _Progress(runner.Watcher):
    """A rich display: trials done, what runs, failures, time left."""

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
        self.seconds: dict[str, float] = {}
        self.spent = 0.0
        self.failed = 0
        self.began = time.monotonic()

    def round(self, number: int, pending: Sequence[Item], more: int, seconds: float) -> None:
        done = self.bar.tasks[0].completed
        self.left, self.more = seconds, more
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
        if record.status not in FINISHED:
            self.failed += 1
            self.bar.console.print(
                f"[red]{record.status}[/] {label}: {record.reason.strip().splitlines()[-1:]}", highlight=False
            )
        elif record.status == "diverged":
            self.bar.console.print(f"[yellow]diverged[/] {label} at step {record.diverged_step}", highlight=False)
        self.left = max(self.left - self.share, 0.0)
        self.bar.advance(self.task)
        self._draw()

    def _draw(self) -> None:
        now = ", ".join(
            f"{label.split(' ', 1)[1]} {share:.0%}" for label, share in sorted(self.running.items())[:2]
        )
        extra = f" (+ up to {self.more})" if getattr(self, "more", 0) else ""
        left = f"about {duration(getattr(self, 'left', 0) / self.workers)} left{extra}"
        failed = f", {self.failed} failed" if self.failed else ""
        self.bar.update(self.task, left=f"{left}{failed}  {now}")


class _Lines(runner.Watcher):
    """For logs and --quiet: a line a round, a line a failure."""

    def __init__(self, quiet: bool):
        self.quiet = quiet

    def round(self, number: int, pending: Sequence[Item], more: int, seconds: float) -> None:
        if not self.quiet:
            typer.echo(
                f"round {number}: {len(pending)} trials, up to {more} more, "
                f"about {duration(seconds)} of one worker"
            )

    def stored(self, label: str, record: Record) -> None:
        if record.status not in FINISHED:
            typer.secho(f"{record.status}: {label}: {record.reason.strip()[-400:]}", fg="red", err=True)


def make_executor(name: str, workers: int | None, trials_per_gpu: int = 1) -> Executor:
    """The executor of this name, with the options that were given."""
    from harness.execution.executors import executor

    options = {
        **({} if workers is None else {"workers": workers}),
        **({} if trials_per_gpu == 1 else {"trials_per_gpu": trials_per_gpu}),
    }
    return executor(name, **options)


def run_command(
    suites: Sequence[Suite],
    results: Path,
    only: str | None,
    executor: str,
    workers: int | None,
    track: bool,
    quiet: bool,
    checkpoint_seconds: float = 30.0,
    trials_per_gpu: int = 1,
) -> int:
    """Run, show progress, say what happened; the exit code."""
    store = Store(results)
    kept = parse_only(only, suites[0]) if only else None
    machine = make_executor(executor, workers, trials_per_gpu)
    console = Console(stderr=True)
    mirror = None
    if track:
        from harness.records.tracking import Follower

        mirror = Follower(results)
    bar = _Progress(console, machine.capacity) if console.is_terminal and not quiet else None
    try:
        with bar.bar if bar else contextlib.nullcontext():
            summary = runner.run(
                suites,
                store,
                machine,
                only=kept,
                watcher=bar or _Lines(quiet),
                after_store=mirror.put if mirror else None,
                checkpoint_seconds=checkpoint_seconds,
            )
    finally:
        machine.close()
        if mirror and (left := mirror.close().failed):
            typer.secho(f"tracking: {left} records not sent; later: harness track", fg="yellow", err=True)
    for note in summary.notes:
        typer.secho(note, fg="yellow", err=True)
    for plan in summary.plans:
        counts = plan.counts()
        typer.echo(
            f"{plan.suite.name} ({plan.suite.profile}): {counts['done']} of {len(plan.items)} trials done, "
            f"{summary.ran} run now, {duration(summary.seconds)}"
        )
        if not quiet:
            for note in plan.notes:
                typer.echo(f"  note: {note}")
    for label, record in summary.failed:
        typer.secho(f"{record.status}: {label}", fg="red", err=True)
    if summary.interrupted:
        typer.secho("stopped; what is done is kept, and the same command goes on from here", fg="yellow", err=True)
        return INTERRUPTED
    return TRIAL_FAILED if summary.failed else OK


# --- housekeeping ------------------------------------------------------------------------------------------


def accept_command(suites: Sequence[Suite], results: Path, only: str | None, reason: str) -> None:
    """Carry stale records over, with the reason."""
    from harness.fingerprint import trial_fingerprint

    count = 0
    while True:
        # Later rounds are planned only once the earlier ones count, so their stale trials appear one by one.
        store, plans, _ = _plans(suites, results, only)
        stale = {i.record.identity: i.record for p in plans for i in p.items if i.state == "stale" and i.record}
        if not stale:
            break
        count += accept(store, stale.values(), {k: trial_fingerprint(r.trial) for k, r in stale.items()}, reason)
    typer.echo(f"accepted {count} records; logged in {accepted_file(store)}" if count else "nothing is stale")


def clean_command(suites: Sequence[Suite], results: Path, stale: bool, unused: bool, yes: bool) -> None:
    """Remove scratch; with flags, records."""
    store = Store(results)
    folders = [f for f in (store.work, store.runs / "staging") if f.is_dir() and any(f.iterdir())]
    going: list[Record] = []
    if stale:
        _, plans, _ = _plans(suites, results, None)
        going += [i.record for p in plans for i in p.items if i.state == "stale" and i.record]
    if unused:
        used = set()
        for file in (store.runs / "plans").glob("*.json"):
            plan = json.loads(file.read_bytes())
            suite, profile = plan["suite"]["name"], plan["suite"]["profile"]
            used |= {
                (r.planned.trial.identity, code_of(r.record))
                for r in load_rows(store, suite, profile)[1]
                if r.record
            }
        going += [r for rs in store.load().by_identity.values() for r in rs if (r.identity, code_of(r)) not in used]
    typer.echo(
        f"{len(folders)} scratch folders, {len(going)} records"
        + ("" if yes else "; nothing deleted yet: add --yes")
    )
    if yes:
        for folder in folders:
            shutil.rmtree(folder)
        for record in {(r.identity, code_of(r)): r for r in going}.values():
            store.remove(record)


def track_command(suites: Sequence[Suite], results: Path, uri: str) -> dict[str, Any]:
    """Send to the tracking server what it lacks."""
    from harness.records import tracking

    store = Store(results)
    records = store.load()
    rows: list[Row] = []
    for suite in suites:
        if read_plan(store, suite.name, suite.profile) is not None:
            rows += load_rows(store, suite.name, suite.profile, records)[1]
    if not rows:
        raise HarnessError(f"{results}: nothing has been run for these suites at this profile")
    folders = [f for f in (store.reports / suites[0].profile,) if (f / "report.json").is_file()]
    verdicts = {
        c["id"]: c["verdict"] for f in folders for c in json.loads((f / "report.json").read_bytes())["claims"]
        if c["verdict"]
    }  # fmt: skip
    return tracking.sync(rows, results, uri or None, reports=folders, verdicts=verdicts).as_dict()

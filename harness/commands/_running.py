"""Running suites with a display: what `harness run` and `harness compare` share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.console import Console

from harness import runner
from harness.commands._options import complain, warn
from harness.commands._trial_display import Lines, TrialBar
from harness.execution.executors import Executor, executor
from harness.exit_codes import OK, TRIAL_FAILED
from harness.numbers import duration
from harness.planning.compose import parse_only
from harness.planning.registering import register, registrations
from harness.planning.registration import Under
from harness.planning.suite import Suite
from harness.records.store import Store


def registered(suites: Sequence[Suite], results: Path, reason: str) -> tuple[list[Suite], dict[str, Under]]:
    """The suites with their evaluation seeds, and what each runs under; what is put down now is said."""
    store = Store(results)
    store.prepare()
    before = {e.hash for chain in registrations(store).chains.values() for e in chain}
    ready, entries = register(suites, store, reason)
    for suite in ready:
        if (under := entries.get(suite.key)) and under.entry not in before:
            typer.echo(
                f"{suite.name} ({suite.profile}): registered as {under.entry[:12]}, evaluation seeds from "
                f"{suite.first_seed} on", err=True,
            )  # fmt: skip
    return ready, entries


def run_suites(
    suites: Sequence[Suite],
    results: Path,
    *,
    registrations: Mapping[str, Under] | None = None,
    only: str | None = None,
    executor_name: str = "local",
    workers: int | None = None,
    trials_per_gpu: int = 1,
    track: bool = False,
    quiet: bool = False,
    checkpoint_seconds: float = 30.0,
) -> int:
    """Run, show progress, say what happened; the exit code."""
    store = Store(results)
    kept = parse_only(only, suites[0]) if only else None
    machine = executor_of(executor_name, workers, trials_per_gpu)
    console = Console(stderr=True)
    mirror = None
    if track:
        from harness.records.tracking import Follower

        mirror = Follower(results)
    bar = TrialBar(console, machine.capacity) if console.is_terminal and not quiet else None
    store.prepare()
    try:
        with store.shared("harness run"), bar.bar if bar else contextlib.nullcontext():
            summary = runner.run(
                suites,
                store,
                machine,
                registrations=registrations,
                only=kept,
                watcher=bar or Lines(quiet),
                after_store=mirror.put if mirror else None,
                checkpoint_seconds=checkpoint_seconds,
            )
    finally:
        machine.close()
        if mirror and (left := mirror.close().failed):
            warn(f"tracking: {left} records not sent; later: harness track")
    return _said(summary, quiet)


def executor_of(name: str, workers: int | None, trials_per_gpu: int = 1) -> Executor:
    """The executor of this name, with the options that were given."""
    options = {
        **({} if workers is None else {"workers": workers}),
        **({} if trials_per_gpu == 1 else {"trials_per_gpu": trials_per_gpu}),
    }
    return executor(name, **options)


def _said(summary: runner.Summary, quiet: bool) -> int:
    """Say what a run did; its exit code."""
    for note in summary.notes:
        warn(note)
    for plan in summary.plans:
        typer.echo(
            f"{plan.suite.name} ({plan.suite.profile}): {plan.counts()['done']} of {len(plan.items)} trials done, "
            f"{summary.ran} run now, {duration(summary.seconds)}"
        )
        for note in plan.notes if not quiet else ():
            typer.echo(f"  note: {note}")
    for label, record in summary.failed:
        complain(f"{record.status}: {label}")
    if summary.interrupted:
        warn("stopped; what is done is kept, and the same command goes on from here")
        return summary.interrupted
    return TRIAL_FAILED if summary.failed else OK

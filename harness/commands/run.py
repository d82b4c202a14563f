"""``harness run``: a suite, from what is missing to nothing missing."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands._options import (
    DEFAULT_RESULTS,
    Executor,
    Only,
    Pilot,
    Plugins,
    Reason,
    Results,
    Words,
    Workers,
    load_suites,
)
from harness.exit_codes import OK, TRIAL_FAILED

EXAMPLE = "harness run muon_scaling profile=cpu arms.muon.optimizer.momentum=0.9"
EXITS = (TRIAL_FAILED,)


def command(
    words: Words = None,
    only: Only = None,
    plugins: Plugins = None,
    results: Results = DEFAULT_RESULTS,
    executor: Executor = "local",
    workers: Workers = None,
    trials_per_gpu: Annotated[
        int, typer.Option(min=1, help="Trials that share a GPU; timing trials still run alone.")
    ] = 1,
    reason: Reason = "",
    pilot: Pilot = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Same as `harness plan`.")] = False,
    track: Annotated[
        bool,
        typer.Option(
            "--track/--no-track",
            help="Mirror records to MLflow as they are stored; training never waits for it.",
        ),
    ] = True,
    checkpoint_seconds: Annotated[float, typer.Option(help="Least seconds between a trial's checkpoints.")] = 30.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress display.")] = False,
) -> int:
    """Run suites until nothing is left to do. A run that was stopped goes on where it was.

    A design and its claims are registered before their first trial; one that changes after records exist takes
    fresh seeds and needs a reason.
    """
    from harness.commands._progress import working

    if dry_run:
        with working("planning"):
            from harness.commands import _plan_table

            suites = load_suites(words, plugins, pilot=pilot)
            _, plans, records = _plan_table.plans_of(suites, results, only, build=False)
        for plan in plans:
            _plan_table.show(plan, records, results)
        return OK
    with working("reading suites"):
        from harness.commands._running import registered, run_suites

        suites, entries = registered(load_suites(words, plugins, pilot=pilot), results, reason)
    return run_suites(
        suites, results, registrations=entries, only=only, executor_name=executor, workers=workers,
        trials_per_gpu=trials_per_gpu, track=track, quiet=quiet, checkpoint_seconds=checkpoint_seconds,
    )  # fmt: skip

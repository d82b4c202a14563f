"""``harness plan``: what a run would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._options import (
    DEFAULT_RESULTS,
    Json,
    Only,
    Pilot,
    Plugins,
    Reason,
    Results,
    Words,
    load_suites,
    print_json,
)

if TYPE_CHECKING:
    from harness.planning.registration import Under

EXAMPLE = "harness plan muon_scaling profile=cpu --trials"
EXITS = ()


def command(
    words: Words = None,
    only: Only = None,
    plugins: Plugins = None,
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write the pending round to this file, to be executed on another machine by `harness execute`.",
            show_default=False,
        ),
    ] = None,
    reason: Reason = "",
    pilot: Pilot = False,
    trials: Annotated[bool, typer.Option("--trials", help="One line a trial.")] = False,
) -> None:
    """Print what a run would do. What is done, stale (and why), missing, and how much may follow.

    With --export the design is registered, as `harness run` does before its first trial.
    """
    from harness.commands._progress import working

    with working("planning"):
        from harness.commands import _plan_table

        suites = load_suites(words, plugins, pilot=pilot)
        entries: dict[str, Under] = {}
        if export:
            from harness.commands._running import registered

            suites, entries = registered(suites, results, reason)
        store, plans, records = _plan_table.plans_of(suites, results, only, build=export is not None)
    if export:
        from harness import exchange

        count = exchange.export_round(plans, store, export, entries)
        typer.echo(f"{export}: {count} trials; on the other machine: harness execute {export.name}")
    elif as_json:
        print_json([_plan_table.as_json(plan, records, results) for plan in plans])
    else:
        for plan in plans:
            _plan_table.show(plan, records, results, trials)

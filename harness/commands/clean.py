"""``harness clean``: what nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands._options import DEFAULT_RESULTS, Results, Words, load_suites
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.records.record import Record

EXAMPLE = "harness clean all profile=smoke --stale --yes"
EXITS = ()


def command(
    words: Words = None,
    results: Results = DEFAULT_RESULTS,
    stale: Annotated[bool, typer.Option("--stale", help="Delete records of old code for these suites.")] = False,
    unused: Annotated[bool, typer.Option("--unused", help="Delete records that no stored plan uses.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would go.")] = False,
) -> None:
    """Remove scratch folders; with --stale or --unused, records too. Nothing goes without --yes."""
    from harness.commands._plan_table import plans_of
    from harness.commands._progress import working
    from harness.records import housekeeping
    from harness.records.record import code_of
    from harness.records.store import Store

    suites = load_suites(words) if words else []
    if stale and not suites:
        raise HarnessError("--stale needs the suites whose stale records go, or 'all'")
    store = Store(results)
    with store.exclusive("harness clean"):
        going: list[Record] = []
        if stale:
            with working("planning"):
                plans = plans_of(suites, results, None)[1]
            going += [i.record for p in plans for i in p.items if i.state == "stale" and i.record]
        if unused:
            going += housekeeping.unused(store, store.load())
        chosen = {(r.identity, code_of(r)): r for r in going}
        left = housekeeping.clean_scratch(store) if yes else housekeeping.scratch(store)
        typer.echo(
            f"{len(left)} scratch folders, {len(chosen)} records"
            + ("" if yes else "; nothing deleted yet: add --yes")
        )
        if yes:
            for record in chosen.values():
                store.remove(record)

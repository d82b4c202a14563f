"""``harness accept``: stale records that still hold."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands._options import DEFAULT_RESULTS, Only, Plugins, Results, Words, load_suites
from harness.errors import HarnessError

EXAMPLE = 'harness accept muon_scaling profile=cpu --reason "renamed a variable"'
EXITS = ()


def command(
    words: Words = None,
    reason: Annotated[str, typer.Option(help="Why the old numbers still hold.")] = "",
    only: Only = None,
    plugins: Plugins = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Carry stale records over to the current code. The reason is appended to a committed log."""
    from harness.commands._plan_table import plans_of
    from harness.commands._progress import working
    from harness.fingerprint import trial_fingerprint
    from harness.records.accepted import accept, accepted_file
    from harness.records.store import Store

    if not reason.strip():
        raise HarnessError("--reason is needed: it is kept in the log, e.g. --reason 'renamed a variable'")
    suites = load_suites(words, plugins)
    store, count = Store(results), 0
    with store.exclusive("harness accept"):
        while True:
            # Later rounds are planned only once the earlier ones count, so their stale trials appear one by one.
            with working("planning"):
                plans = plans_of(suites, results, only)[1]
            stale = {i.record.identity: i.record for p in plans for i in p.items if i.state == "stale" and i.record}
            if not stale:
                break
            current = {k: trial_fingerprint(r.trial) for k, r in stale.items()}
            count += accept(store, stale.values(), current, reason)
    typer.echo(f"accepted {count} records; logged in {accepted_file(store)}" if count else "nothing is stale")

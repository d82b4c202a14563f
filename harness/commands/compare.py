"""``harness compare``: a new method beside a suite's tuned baselines; same budget, same seeds, cached baselines."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harness.commands._options import DEFAULT_RESULTS, Executor, Reason, Results, Workers
from harness.errors import HarnessError, PluginError
from harness.exit_codes import TRIAL_FAILED

EXAMPLE = "harness compare my_opt.py --suite muon_scaling profile=cpu"
EXITS = (TRIAL_FAILED,)


def command(
    method: Annotated[Path, typer.Argument(help="Your method's file.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[profile=P] [key=value]...", show_default=False)
    ] = None,
    suite_name: Annotated[
        str, typer.Option("--suite", help="Suite whose baselines to compare with.", show_default=False)
    ] = "",
    against: Annotated[
        str, typer.Option(help="Arms to compare with, comma separated; default: all.", show_default=False)
    ] = "",
    reason: Reason = "",
    results: Results = DEFAULT_RESULTS,
    executor: Executor = "local",
    workers: Workers = None,
) -> int:
    """Put your method beside a suite's tuned baselines. It is checked, tuned with the same budget, evaluated on the
    same seeds, and reported."""
    from harness import registry
    from harness.commands._new_arm import with_method
    from harness.commands._progress import working
    from harness.commands._running import registered, run_suites
    from harness.planning import checks, compose
    from harness.report import gather

    if not suite_name:
        raise HarnessError(f"--suite is needed: one of {', '.join(compose.shipped())}")
    if problems := checks.check_plugins([method]):
        raise PluginError("\n".join(problems))
    entry = registry.load_plugin(method)[0]
    names, profile, overrides = compose.split_arguments(words or [])
    if names:
        raise HarnessError(f"unexpected {names}; after the method's file come profile=... and overrides")
    base = compose.load(suite_name, profile, overrides).model_copy(update={"pilot": " ".join(overrides)})
    (base,), entries = registered([base], results, reason)
    chosen = with_method(base, entry.kind, entry.name, [a for a in against.split(",") if a])
    # The baselines run under their own suite's entry and can be used by it; the comparison itself gives no verdict.
    baselines = frozenset(base.active_arms)
    under = {chosen.key: replace(entries[base.key], arms=baselines)} if base.key in entries else {}
    code = run_suites([chosen], results, registrations=under, executor_name=executor, workers=workers)
    folder = results / "compare" / chosen.name
    with working("building the report"):
        built = gather.report(results, chosen.profile, [chosen.key], folder=folder)
    shutil.copy2(method, folder / method.name)
    typer.echo(gather.ledger_text(built))
    typer.echo(f"report, tables and the method's source: {folder}")
    return code

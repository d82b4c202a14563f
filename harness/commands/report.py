"""``harness report``: verdicts, tables, figures, a page."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from harness.commands._options import DEFAULT_RESULTS, Json, Results, Words, complain
from harness.exit_codes import OK, REGRESSION

EXAMPLE = "harness report profile=cpu --reference"
EXITS = (REGRESSION,)


def command(
    words: Words = None,
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    reference: Annotated[bool, typer.Option("--reference", help="From the committed records alone.")] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit 4 when a verdict flips between holds and fails against the committed reference, or an "
            "estimate changes beyond its uncertainty.",
        ),
    ] = False,
) -> int:
    """Build the report of what has been run. A ledger of claims, tables and figures, as a page and as files."""
    from harness.commands._progress import working
    from harness.planning import compose
    from harness.records.store import Store

    names, profile, _ = compose.split_arguments(words or [])
    with Store(results).shared("harness report"), working("building the report"), _in_haste():
        from harness.report import gather

        built = gather.report(results, profile or "cpu", names, reference=reference)
        changes = gather.strict_changes(built, results) if strict else []
    if as_json:
        typer.echo((built.folder / "report.json").read_text(encoding="utf-8"))
    else:
        typer.echo(gather.console_text(built))
        typer.echo(f"report: {built.folder / 'index.html'}")
    for change in changes:
        complain(change)
    return REGRESSION if changes else OK


@contextmanager
def _in_haste() -> Iterator[None]:
    """A fifth of a report's time, saved: objects live to its end, so looking for garbage finds none; and its frames
    are short, for which strings in Arrow's arrays are slow."""
    import pandas as pd

    thresholds = gc.get_threshold()
    gc.set_threshold(200_000, *thresholds[1:])
    try:
        with pd.option_context("mode.string_storage", "python"):
            yield
    finally:
        gc.set_threshold(*thresholds)

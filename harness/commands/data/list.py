"""``harness data list``: what is built."""

from __future__ import annotations

import typer

from harness.commands._options import DEFAULT_RESULTS, Json, Results, print_json

EXAMPLE = "harness data list"
EXITS = ()


def command(results: Results = DEFAULT_RESULTS, as_json: Json = False) -> None:
    """List the data sets that are built here."""
    from harness.data import commands

    rows = commands.list_corpora(results / "data")
    if as_json:
        return print_json(rows)
    for row in rows:
        typer.echo("  ".join(str(v) for v in row.values() if not isinstance(v, dict)))
    if not rows:
        typer.echo("none built yet; harness data build python_sources")

"""``harness data list``: what is built."""

from __future__ import annotations

import typer

from harness.commands._options import DEFAULT_RESULTS, Json, Results, print_json
from harness.commands.data._summary import listing

EXAMPLE = "harness data list"
EXITS = ()


def command(results: Results = DEFAULT_RESULTS, as_json: Json = False) -> None:
    """List the data sets that are built here: vocabulary, tokens of each split, size and state."""
    from harness.data import commands

    rows = commands.list_corpora(results / "data")
    if as_json:
        return print_json(rows)
    if not rows:
        return typer.echo("none built yet; harness data build python_sources")
    for line in listing(rows):
        typer.echo(line)

"""``harness data import``: a data set from one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands._options import DEFAULT_RESULTS, Results

EXAMPLE = "harness data import corpus.xz"
EXITS = ()


def command(
    file: Annotated[Path, typer.Argument(help="File written by `harness data export`.", show_default=False)],
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Unpack an exported data set and verify every byte of it."""
    from harness.commands._progress import working
    from harness.data import commands

    with working(f"unpacking {file.name}"):
        corpus = commands.import_(file, results / "data")
    typer.echo(f"{corpus.name}: digest {corpus.digest}")

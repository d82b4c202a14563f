"""``harness data export``: a data set as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands._options import DEFAULT_RESULTS, Results
from harness.commands.data._spec import Spec, spec_of

EXAMPLE = "harness data export python_sources --to corpus.xz"
EXITS = ()


def command(
    file: Annotated[Path, typer.Option("--to", help="File to write.", show_default=False)],
    spec: Spec = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Write a data set to one compressed file. It is built if needed; for a machine without its source."""
    from harness.commands._progress import bytes_done
    from harness.data import commands

    with bytes_done(f"writing {file.name}") as progress:
        commands.export(spec_of(spec), results / "data", file, progress)
    typer.echo(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")

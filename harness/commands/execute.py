"""``harness execute``: trials planned on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands._options import DEFAULT_RESULTS, Results
from harness.exit_codes import OK, TRIAL_FAILED

EXAMPLE = "harness execute round.zip --out executed"
EXITS = (TRIAL_FAILED,)


def command(
    round_file: Annotated[Path, typer.Argument(help="File written by `harness plan --export`.")],
    out: Annotated[Path, typer.Option(help="Folder for records.")] = Path("executed"),
    data: Annotated[Path, typer.Option(help="Folder of built data sets.")] = Path("results/data"),
    records: Annotated[
        Path | None,
        typer.Option(
            "--import",
            help="Instead of executing: import the records of this folder into --results.",
            show_default=False,
        ),
    ] = None,
    results: Results = DEFAULT_RESULTS,
) -> int:
    """Execute an exported round, or import its records. Executing needs only torch, numpy, pydantic and PyYAML."""
    from harness import exchange

    if records is not None:
        count = exchange.import_records(records, results)
        typer.echo(f"imported {count} records into {results}")
        return OK
    failed = exchange.execute_round(round_file, out, data, echo=typer.echo)
    return TRIAL_FAILED if failed else OK

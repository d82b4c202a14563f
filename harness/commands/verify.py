"""``harness verify``: whether all that is stored is what was written."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from harness.commands._options import DEFAULT_RESULTS, Json, Results, complain, print_json, warn
from harness.exit_codes import INTEGRITY, OK

EXAMPLE = "harness verify"
EXITS = (INTEGRITY,)


def command(
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    data: Annotated[bool, typer.Option("--data/--no-data", help="Read the data sets through, too.")] = True,
) -> int:
    """Read everything in a results folder through. Each damaged file is named with the cure; nothing is changed."""
    from harness.commands._progress import working
    from harness.planning.registering import findings
    from harness.records.verification import verify

    with working("reading"):
        found = [*findings(results), *verify(results, data=data)]
    damaged = sum(f.damaged for f in found)
    if as_json:
        print_json([{**asdict(f), "path": str(f.path)} for f in found])
    else:
        for finding in found:
            (complain if finding.damaged else warn)(str(finding))
        typer.echo(f"{results}: {damaged} damaged, {len(found) - damaged} notes")
    return INTEGRITY if damaged else OK

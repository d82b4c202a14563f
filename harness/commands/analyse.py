"""``harness analyse``: the estimators for results from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands import _completion
from harness.commands._options import Json, print_json
from harness.errors import HarnessError

EXAMPLE = "harness analyse results.csv arm=muon baseline=adamw below=1"
EXITS = ()


def command(
    file: Annotated[Path, typer.Argument(help="Table in long format: arm, size or compute, seed, loss, diverged.")],
    estimator: Annotated[
        str,
        typer.Option(
            help="Estimator; `harness list estimators` names them, `harness show` says their arguments.",
            autocompletion=_completion.estimators,
        ),
    ] = "compute_ratio",
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[key=value]...",
            help="The estimator's arguments, e.g. arm=muon baseline=adamw; below=, above=, within= ask for a test.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Apply an estimator to anyone's results. It answers with an interval and, where asked, with a test."""
    from harness.commands._progress import working

    with working("estimating"):
        from harness.analysis.analyse import analyse_csv, as_text

        result = analyse_csv(file, estimator, **_values(arguments or []))
    return print_json(result) if as_json else typer.echo(as_text(result))


def _values(words: Sequence[str]) -> dict[str, Any]:
    from harness.reading import parse_yaml

    values = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise HarnessError(f"{word!r}: write the estimator's arguments as key=value")
        values[key] = parse_yaml(value, repr(word))
    return values

"""``harness data build``: a data set before it is needed."""

from __future__ import annotations

import typer

from harness.commands._options import DEFAULT_RESULTS, Results
from harness.commands.data._spec import Spec, spec_of
from harness.commands.data._summary import summary

EXAMPLE = "harness data build path=my.txt tokenizer=bpe vocab_size=1024"
EXITS = ()


def command(spec: Spec = None, results: Results = DEFAULT_RESULTS) -> None:
    """Build a data set now, and say what is in it. Otherwise it is built when first needed."""
    from harness.commands._progress import bytes_done
    from harness.data import commands

    wanted = spec_of(spec)
    with bytes_done(f"building {wanted.get('name', 'the data set')}") as progress:
        corpus = commands.build(wanted, results / "data", progress)
    typer.echo(f"{corpus.name}: digest {corpus.digest}")
    for line in summary(corpus):
        typer.echo(line)
    if out := corpus.about.get("left_out", {}).get("files"):
        typer.echo(f"{out:,} files left out when it was first built:")
        for file in corpus.about["left_out"]["named"]:
            typer.echo(f"  {file}")

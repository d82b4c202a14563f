"""``harness show``: one thing in full."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands import _completion
from harness.commands._options import Json, Plugins, load_plugins, load_suites, print_json

EXAMPLE = "harness show optimizer.muon"
EXITS = ()


def command(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KIND.NAME | suite | SUITE|PATH.yaml [profile=P] [key=value]...]",
            help="What to show: optimizer.muon, estimator.compute_ratio, figure.loss_against_lr, probe.spectra, "
            "claim.muon_scaling.compute_ratio, workload.language_model; suite: the keys that a suite may have; or "
            "a suite, as resolved.",
            show_default=False,
            autocompletion=_completion.things,
        ),
    ] = None,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """Show one thing in full. Of a method, workload, probe, estimator or figure its fields, their meaning and
    defaults; a suite as profile and overrides resolve it."""
    from harness.commands import _describe, _kinds

    load_plugins(plugins)
    if described := _kinds.described((words or [""])[0]):
        return print_json(described.as_dict()) if as_json else typer.echo(_describe.as_text(described))
    for suite in load_suites(words, plugins):
        if as_json:
            print_json(suite.model_dump(mode="json"))
        else:
            typer.echo(_describe.suite_text(suite))

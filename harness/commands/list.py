"""``harness list``: everything that has a name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from harness.commands import _completion
from harness.commands._options import Json, Plugins, load_plugins, print_json

EXAMPLE = "harness list optimizers"
EXITS = ()


def command(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="suites, claims, profiles, workloads, probes, estimators, figures, executors, methods, or one "
            "kind of method, as optimizers; default: all.",
            show_default=False,
            autocompletion=_completion.kinds,
        ),
    ] = None,
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """List everything that has a name, a line each. More of one thing: harness show KIND.NAME."""
    from harness import registry
    from harness.commands import _kinds

    load_plugins(plugins)
    out: dict[str, Any] = {
        kind.plural: [entry.as_dict() for entry in kind.entries()] for kind in _kinds.chosen(what)
    }
    if broken := registry.broken_plugins():
        out["not loaded"] = [{"name": k, "summary": v} for k, v in broken.items()]
    if as_json:
        return print_json(out)
    for heading, rows in out.items():
        width = max((len(row["name"]) for row in rows), default=0) + 2
        typer.secho(heading, bold=True)
        for row in rows:
            origin = row.get("origin") or ""
            typer.echo(f"  {row['name']:<{width}}{row['summary']}{f' ({origin})' if origin else ''}".rstrip())
        if not rows:
            typer.echo("  none")

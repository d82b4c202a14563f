"""The command line: one file a command under ``harness/commands``, found by its name, assembled here.

A file without a leading underscore is a command; a folder is a group of them. It holds

    command(...)   what it does, with its arguments; the docstring is its help; returns an exit code, or None for 0
    EXAMPLE        a line that works; a folder has one in its __init__.py
    EXITS          exit codes that it may return beside those of every command

Heavy modules load inside the command that needs them; help, list and report never import torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Annotated

import typer

from harness import commands, exit_codes
from harness.commands import _guard


def assemble(package: ModuleType, about: str, epilog: str = "", completion: bool = False) -> typer.Typer:
    """An application of the commands of a package; ``completion``: it can install itself in a shell."""
    app = typer.Typer(
        help=about,
        epilog=epilog,
        no_args_is_help=True,
        add_completion=completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for found in pkgutil.iter_modules(package.__path__):
        if found.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        # A name that Python keeps to itself ends in an underscore, as import_; one of two words has one inside.
        name = found.name.rstrip("_").replace("_", "-")
        if found.ispkg:
            app.add_typer(assemble(module, module.__doc__ or "", f"Example: {module.EXAMPLE}"), name=name)
        else:
            said = f"Example: {module.EXAMPLE}\n\n{exit_codes.told(module.EXITS)}"
            # Given, or a list of commands would cut it off at a width.
            first = (module.command.__doc__ or "").partition(". ")[0].partition("\n")[0].rstrip(".") + "."
            app.command(name, epilog=said, short_help=first)(_guard.guarded(module.command))
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"harness {version('method-harness')}")
        raise typer.Exit


app = assemble(
    commands,
    "Suites that turn claims about training methods into verdicts with their uncertainty and scale.",
    "Suites and overrides: harness run muon_scaling profile=cpu arms.muon.optimizer.momentum=0.9\n\n"
    + exit_codes.told(tuple(exit_codes.MEANINGS)),
    completion=True,
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the ``harness`` command."""
    _guard.run(app)

"""Arguments and options that several commands share, and what they all do with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands import _completion
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.planning.suite import Suite

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SUITE|PATH.yaml|all]... [profile=P] [key=value]...",
        help="Suites and Hydra overrides.",
        autocompletion=_completion.words,
        show_default=False,
    ),
]
Results = Annotated[Path, typer.Option("--results", help="Results folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="File with your own methods; may be repeated.", show_default=False),
]
Only = Annotated[str | None, typer.Option("--only", help="Run a part: arm=muon,size=d24.", show_default=False)]
Executor = Annotated[
    str,
    typer.Option(
        "--executor",
        help="Where trials run; `harness list executors` names them.",
        autocompletion=_completion.executors,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", help="Worker processes; default: one per core or GPU.", show_default=False),
]
Reason = Annotated[
    str,
    typer.Option(help="Why a design, or its results under other analysis code, changed; kept.", show_default=False),
]
Pilot = Annotated[
    bool, typer.Option("--pilot", help="Register nothing: seeds of its own, no verdict. Overrides imply it.")
]
DEFAULT_RESULTS = Path("results")


def load_suites(
    words: Sequence[str] | None,
    plugins: Sequence[Path] | None = None,
    default_all: bool = False,
    pilot: bool = False,
) -> list[Suite]:
    """The suites that these words name, with their profile and overrides; plug-ins are loaded first.

    With overrides, or ``pilot``, they are pilots: their runs register nothing.

    Raises HarnessError where no suite is named, unless ``default_all``.
    """
    from harness.planning import compose, idle

    load_plugins(plugins)
    names, profile, overrides = compose.split_arguments(words or [])
    if names == ["all"] or (not names and default_all):
        names = compose.shipped()
    if not names:
        raise HarnessError(f"give a suite: {', '.join(compose.shipped())}, a path ending in .yaml, or 'all'")
    if len(names) == 1:
        suites = [idle.load_checked(names[0], profile, overrides)]
    else:
        # What one of several suites has no use for may be meant for another.
        suites = [compose.load(n, profile, overrides) for n in names]
    why = "--pilot" if pilot else f"overrides {' '.join(overrides)}" if overrides else ""
    return [s.model_copy(update={"pilot": why}) for s in suites]


def load_plugins(plugins: Sequence[Path] | None) -> None:
    """Load the user's files; one that does not load is named, and the others still work."""
    from harness import registry

    registry.load_plugins(plugins or [])
    for problem in registry.broken_plugins().values():
        warn(f"plug-in skipped: {problem}")


def print_json(value: Any) -> None:
    """For programs; holds no NaN."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def warn(text: str) -> None:
    """A line that is not the answer."""
    typer.secho(text, fg="yellow", err=True)


def complain(text: str) -> None:
    """A line about what is wrong."""
    typer.secho(text, fg="red", err=True)

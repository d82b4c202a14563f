"""The command as a user types it: in a process of its own, or, where that does not matter, in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
SMALL = ["base.training.evaluation_tokens=2048", "base.training.test_tokens=2048"]
"""Overrides that make a trial of a language model short."""


def harness(*arguments, cwd=None, check=True, env=None):
    """``harness ...`` in a new process; with ``check`` it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        timeout=300,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


KNOWN = ("_plugins", "_loaded", "_broken")
"""What the registry holds of plug-ins."""


def here(*arguments) -> Any:
    """``harness ...`` in this process: a result with exit_code, stdout and stderr.

    The plug-ins that the command loads end with it, as they do with a process of its own.
    """
    from harness import registry
    from harness.cli import app

    before = {name: dict(getattr(registry, name)) for name in KNOWN}
    try:
        return CliRunner().invoke(app, [str(a) for a in arguments])
    finally:
        forget([p for path, p in registry._loaded.items() if path not in before["_loaded"]])
        for name in KNOWN:
            known = getattr(registry, name)
            known.clear()
            known.update(before[name])


def forget(loaded: Iterable[Any]) -> None:
    """Forget plug-ins, and what they registered."""
    from harness import plugins, registry

    for plugin in loaded:
        plugins.forget(plugin)
        for key in [k for k in registry._registered if k[2] == plugin.module]:
            del registry._registered[key]


def commands() -> Iterator[tuple[str, Any]]:
    """("data build", its click command) of every command of the app, groups included."""
    from harness.cli import app

    todo = [("", get_command(app))]
    while todo:
        name, command = todo.pop()
        yield name, command
        for child, value in getattr(command, "commands", {}).items():
            todo.append((f"{name} {child}".strip(), value))

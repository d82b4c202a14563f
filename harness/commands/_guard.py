"""How a command ends: with a sentence and an exit code, whatever happened; never with a bare traceback."""

from __future__ import annotations

import os
import platform
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import typer

from harness.commands._exit_codes import INTERRUPTED, OK, TERMINATED, UNEXPECTED, USAGE
from harness.errors import HarnessError


def guarded(function: Callable[..., int | None]) -> Callable[..., NoReturn]:
    """The command, ending in its exit code; a HarnessError is a message, all else unexpected goes to a log."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = function(*args, **kwargs) or OK
            if sys.stdout is not None:
                sys.stdout.flush()
        except HarnessError as error:
            typer.secho(f"error: {error}", fg="red", err=True)
            code = USAGE
        except KeyboardInterrupt:
            typer.secho("interrupted; what is done is kept", fg="yellow", err=True)
            code = INTERRUPTED
        except BrokenPipeError:
            # The reader of our output went away, as `head` does.
            code = OK
        except Exception as error:
            log = _write_log(error, kwargs.get("results"))
            what = str(error).strip().split("\n")[0]
            typer.secho(
                f"error: unexpected {type(error).__name__}{': ' + what if what else ''}; "
                f"please report it with {log}, which says where it happened",
                fg="red", err=True,
            )  # fmt: skip
            code = UNEXPECTED
        raise typer.Exit(code)

    return wrapped


def _write_log(error: Exception, results: Path | None) -> Path:
    """The traceback with what was asked, below the results folder where there is one."""
    name = f"harness-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    text = "\n".join([
        f"command: {' '.join(sys.argv)}",
        f"folder: {Path.cwd()}",
        f"Python {platform.python_version()}, {platform.platform()}",
        "",
        *traceback.format_exception(error),
    ])  # fmt: skip
    temporary = Path(tempfile.gettempdir())
    for folder in [results / "runs" / "logs", temporary] if results and results.is_dir() else [temporary]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return folder / name
    return Path(os.devnull)


def on_terminate() -> None:
    """SIGTERM unwinds like Ctrl-C, so that what is held is let go; then the process exits 143."""

    def terminated(*_: Any) -> NoReturn:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, terminated)


def flush_quietly() -> None:
    """Write out what is left; where nobody reads it any more, the interpreter's own flush finds nothing to do."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

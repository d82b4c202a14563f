"""How a command ends: with a sentence and an exit code, whatever happened; never with a bare traceback."""

from __future__ import annotations

import codecs
import io
import os
import platform
import signal
import sys
import tempfile
import traceback
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import typer

from harness.commands._options import complain, warn
from harness.errors import HarnessError
from harness.exit_codes import INTERRUPTED, OK, TERMINATED, UNEXPECTED, USAGE

NEAREST = str.maketrans({"−": "-", "–": "-", "—": "-", "×": "x", "±": "+/-", "→": "->", "≤": "<=", "≥": ">="})
"""Signs that we print and that few encodings have -> what says the same in ASCII."""


def guarded(function: Callable[..., int | None]) -> Callable[..., NoReturn]:
    """The command, ending in its exit code."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = function(*args, **kwargs) or OK
        except (Exception, KeyboardInterrupt) as error:
            code = _told(error, kwargs.get("results"))
        raise typer.Exit(code)

    return wrapped


def run(app: typer.Typer) -> NoReturn:
    """The whole command line, help and parsing included; SIGTERM unwinds it as Ctrl-C does, and it exits 143."""

    def terminated(*_: Any) -> NoReturn:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, terminated)
    _speak_any_encoding()
    stdout = sys.stdout
    try:
        app(prog_name="harness")
    except SystemExit as stop:
        # Where the reader of help goes away, click exits 1 and puts a wrapper in the stream's place.
        sys.exit(stop.code if sys.stdout is stdout else OK)
    except Exception as error:
        sys.exit(_told(error, None))
    sys.exit(OK)


def _speak_any_encoding() -> None:
    """Let what a terminal's or a pipe's encoding does not have be written as what comes nearest."""
    codecs.register_error("nearest", lambda error: (_nearest(error), error.end))  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nearest")


def _nearest(error: UnicodeError) -> str:
    """In ASCII: our own signs by their like, letters without their accents, others as a question mark."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(NEAREST)
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or "?"


def _told(error: BaseException, results: Path | None) -> int:
    """Say how it ended; the exit code. What is unexpected goes to a log, with a sentence that says where."""
    if isinstance(error, HarnessError):
        complain(f"error: {error}")
        return USAGE
    if isinstance(error, KeyboardInterrupt):
        warn("interrupted; what is done is kept")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # The reader of our output went away, as `head` does.
        return OK
    what = str(error).strip().split("\n")[0]
    complain(
        f"error: unexpected {type(error).__name__}{': ' + what if what else ''}; "
        f"please report it with {_write_log(error, results)}, which says where it happened"
    )
    return UNEXPECTED


def _write_log(error: BaseException, results: Path | None) -> Path:
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

"""The files below a folder, links followed; how they look; and which of them are held out by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import DataError

READING = 2
"""Version of how sources are read: what an earlier one built from a source is built anew."""
HELD_OUT = {"val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
"""Word in a file's name -> the split that it holds, by the custom of those who write token files."""


def files_below(root: Path, pattern: str | None = None) -> list[Path]:
    """Every file below a folder in the order of the names, hidden ones left out; with ``pattern``, those of a glob.

    Folders that are links are followed, each folder once: one that lies below by its own name goes by that, and a
    link to a folder around is a circle. Raises DataError for a link that leads nowhere, and for a folder that
    cannot be read.
    """
    found: list[Path] = []
    seen = set(root.resolve().parents)
    todo = [root]
    while todo:
        start = todo.pop(0)
        for folder, names, files in os.walk(start, onerror=_unreadable):
            here = Path(folder)
            names[:] = sorted(n for n in names if not n.startswith("."))
            if (real := here.resolve()) in seen:
                names.clear()
                continue
            seen.add(real)
            todo += [here / n for n in names if (here / n).is_symlink()]
            found += [here / n for n in files if not n.startswith(".")]
    chosen = [f for f in found if pattern is None or matches(f.relative_to(root).parts, pattern)]
    for file in chosen:
        if file.is_symlink() and not file.exists():
            raise DataError(f"{file}: a link to {file.readlink()}, which is not there; mend or remove it")
    return sorted((f for f in chosen if f.is_file()), key=lambda f: f.relative_to(root).as_posix())


def _unreadable(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename}: not readable ({error.strerror}); change its permissions")


def matches(parts: Sequence[str], pattern: str) -> bool:
    """Whether a relative path, as its parts, matches a glob; ``**`` stands for any number of folders."""
    return _matches(tuple(parts), tuple(p for p in pattern.split("/") if p not in ("", ".")))


def _matches(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return _matches(parts, wanted[1:]) or (bool(parts) and _matches(parts[1:], wanted))
    return bool(parts) and fnmatchcase(parts[0], wanted[0]) and _matches(parts[1:], wanted[1:])


def look_of(files: Iterable[Path]) -> list[Any]:
    """What tells changed files from unchanged ones without reading them: paths, sizes and times.

    The time of the last change of the inode is among them: no program can set it back, as it can the time of
    writing.
    """
    out: list[Any] = [READING]
    for file in files:
        stat = file.stat()
        out.append([str(file.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
    return out


def split_named(root: Path, file: Path) -> str:
    """The split that a file's name below a folder speaks of: train where it speaks of none."""
    words = re.split(r"[^a-z]+", file.relative_to(root).as_posix().lower())
    return next((HELD_OUT[w] for w in reversed(words) if w in HELD_OUT), "train")

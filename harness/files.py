"""How bytes reach a disk and come back: whole or not at all, under a lock, with a checksum.

Nothing here computes what a number rests on. Checksums lie beside what they cover: a JSON line begins with its
own (:func:`sealed`), another file with a line that has it (:func:`sealed_file`).
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from harness.errors import BusyError, DamagedError, HarnessError

TEMPORARY = ".tmp-"
"""Begins the names of files that are being written; one that is left belongs to nobody."""
POLL_SECONDS = 0.05
_SEALED = re.compile(rb'\{"sha256":"([0-9a-f]{64})",')
_numbers = itertools.count()

# --- writing -----------------------------------------------------------------------------------------------


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to be filled (opened "w+b") that takes the place of ``path`` when the block ends without an error.

    File and folder are synced: after a loss of power there is the old file or the new one, never a part.
    """
    make_folder(path.parent)
    temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{next(_numbers)}-{path.name}"
    try:
        with temporary.open("w+b") as out:
            yield out
            sync(out)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content whole; see :func:`atomic_file`."""
    with atomic_file(path) as out:
        out.write(data)


def append_line(path: Path, line: str) -> None:
    """Add a line to a log and sync it; writers take turns, and what a kill cut off stays a line of its own."""
    make_folder(path.parent)
    with path.open("a+b") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        size = log.seek(0, os.SEEK_END)
        if size:
            log.seek(size - 1)
        torn = size and log.read(1) != b"\n"
        log.write(("\n" if torn else "").encode() + line.rstrip("\n").encode() + b"\n")
        sync(log)
    if not size:
        sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename a file or folder, also to another file system, and sync both folders."""
    make_folder(target.parent)
    shutil.move(str(source), str(target))
    sync_folder(target.parent)
    if source.parent.is_dir():
        sync_folder(source.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, to stay after a loss of power."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync(file: IO[Any]) -> None:
    """Put an open file's content on disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames in this folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- locks -------------------------------------------------------------------------------------------------


@contextmanager
def lock(
    path: Path, *, shared: bool = False, seconds: float | None = None, who: str = ""
) -> Iterator[IO[str]]:
    """Hold a file's lock; the kernel lets go of it when this process ends, however it ends.

    Waits for ``seconds`` (None: as long as it takes), then raises BusyError. ``who`` is what that error names
    to others. Gives the open file, which the holder may use. The file stays: only its holder may remove it.
    """
    make_folder(path.parent)
    handle = _acquire(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, seconds)
    note = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}")
    try:
        if not shared:
            # Nobody else holds it: what notes there are were left by the killed.
            for left in _notes(path):
                left.unlink(missing_ok=True)
        if who:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            note.write_text(f"{who} (process {os.getpid()} since {since})", encoding="utf-8")
        yield handle
    finally:
        note.unlink(missing_ok=True)
        # Not by closing alone: a forked child may have the file open, too.
        fcntl.flock(handle, fcntl.LOCK_UN)
        handle.close()


def _acquire(path: Path, kind: int, seconds: float | None) -> IO[str]:
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8")
        try:
            fcntl.flock(handle, kind | (fcntl.LOCK_NB if deadline is not None else 0))
            with suppress(FileNotFoundError):
                if os.fstat(handle.fileno()).st_ino == path.stat().st_ino:
                    return handle
            # Its holder removed it while this process waited.
            handle.close()
        except BlockingIOError:
            handle.close()
            if deadline is not None and time.monotonic() >= deadline:
                raise BusyError(path, holders(path)) from None
            time.sleep(POLL_SECONDS)
        except BaseException:
            handle.close()
            raise


def holders(path: Path) -> list[str]:
    """Who holds a lock, as far as they said: each with its process and since when."""
    out = []
    for note in _notes(path):
        host, pid = note.name.removeprefix(f"{path.name}.").rsplit(".", 2)[:2]
        with suppress(OSError):
            if host != socket.gethostname() or _lives(int(pid)):
                out.append(note.read_text(encoding="utf-8"))
    return out


def _notes(path: Path) -> list[Path]:
    return sorted(p for p in path.parent.glob(f"{path.name}.*") if re.search(r"\.\d+\.\d+$", p.name))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


# --- reading -----------------------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises HarnessError naming the file and why it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path}: not JSON: {error}") from None


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return _digest(file)


def _digest(file: BinaryIO) -> str:
    """Of what follows in an open file."""
    return hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()


def links_below(folder: Path) -> list[Path]:
    """Symbolic links in a folder, at any depth, and the folder itself if it is one."""
    if folder.is_symlink():
        return [folder]
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        found += [p for n in sorted([*folders, *names]) if (p := Path(place) / n).is_symlink()]
    return sorted(found)


# --- checksums ---------------------------------------------------------------------------------------------


def sealed(value: Mapping[str, Any]) -> str:
    """An object that is not empty as one JSON line, which begins with the SHA-256 of the rest of its text."""
    assert value
    body = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return f'{{"sha256":"{hashlib.sha256(body.encode()).hexdigest()}",{body[1:]}\n'


def unsealed(line: bytes, *, old: Collection[str] = ()) -> dict[str, Any]:
    """What a sealed line holds. Raises DamagedError saying what is wrong with it.

    ``old``: the keys that earlier versions wrote, without a checksum: an object that has no others is taken, too.
    """
    found = _SEALED.match(line)
    if found:
        if not line.endswith(b"}\n"):
            raise DamagedError("it is cut off")
        body = b"{" + line[found.end() : -1]
        if hashlib.sha256(body).hexdigest() != found[1].decode():
            raise DamagedError("its content is not what its checksum says")
    else:
        body = line
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DamagedError("it is not an object")
    if not found and not set(value) <= set(old):
        raise DamagedError("it does not begin with its checksum")
    return value


def has_checksum(line: bytes) -> bool:
    """Whether this version wrote the line."""
    return _SEALED.match(line) is not None


@contextmanager
def sealed_file(path: Path, label: str) -> Iterator[BinaryIO]:
    """An :func:`atomic_file` whose first line holds a label, the length and the SHA-256 of what is written."""
    with atomic_file(path) as out:
        start = out.write(_head(label, 0, "0" * 64))
        yield out
        size = out.seek(0, os.SEEK_END) - start
        out.seek(start)
        content = _digest(out)
        out.seek(0)
        out.write(_head(label, size, content))


def _head(label: str, size: int, content: str) -> bytes:
    return sealed({"label": label, "bytes": f"{size:020}", "content": content}).encode()


@contextmanager
def open_sealed_file(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """(label, file at the start of its content), read through and found whole. Raises DamagedError or OSError."""
    with path.open("rb") as file:
        head = unsealed(file.readline(1 << 16))
        start = file.tell()
        if file.seek(0, os.SEEK_END) - start != int(head["bytes"]):
            raise DamagedError(f"it has not the {int(head['bytes']):,} bytes that were written")
        file.seek(start)
        if _digest(file) != head["content"]:
            raise DamagedError("its content is not what its checksum says")
        file.seek(start)
        yield head["label"], file

"""Whether a corpus is what it was when it was built: hashed once a run, and from then on only looked at.

No workload imports this: what a corpus holds is in its digest, which this compares with the bytes on the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.corpus import META, SPLITS, TOKENIZER, Corpus, open_corpus
from harness.errors import DataError
from harness.files import digest_of_file


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A corpus whose bytes were found to be those of its digest, and how its files looked then. Plain data."""

    digest: str
    files: tuple[tuple[str, int, int, int], ...]
    """(name, bytes, time of the last change in ns, inode) of each file."""


def stamp(folder: Path, digest: str) -> Stamp:
    """Hash a corpus below a data folder and note how its files look. Raises DataError naming what was altered."""
    corpus = open_corpus(folder, digest)
    # Looked at first: a file that changes while it is hashed will look different later.
    files = _look(corpus.path, corpus.meta)
    verify(corpus)
    return Stamp(digest=digest, files=files)


def stamps(folder: Path, digests: Iterable[str]) -> tuple[Stamp, ...]:
    """Stamps of those corpora that are built; the others are hashed when they are built."""
    here = sorted({d for d in digests if d and (Path(folder) / "corpora" / d).is_dir()})
    return tuple(stamp(folder, d) for d in here)


def check(folder: Path, stamp: Stamp) -> None:
    """See that the files of a stamped corpus were not touched since: no byte is read. Raises DataError."""
    path = Path(folder) / "corpora" / stamp.digest
    for name, size, changed, inode in stamp.files:
        file = path / name
        try:
            now = file.stat()
        except OSError as error:
            raise DataError(f"{file}: {error.strerror} since this run began; run again") from None
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (size, changed, inode):
            raise DataError(f"{file}: touched since this run read it through; run again, which reads it anew")


def verify(corpus: Corpus) -> None:
    """Read a corpus through and compare its hashes. Raises DataError naming the file that was altered."""
    again = f"remove {corpus.path} and build again (harness data build)"
    for name, expected in hashes(corpus.meta).items():
        file = corpus.path / name
        if file.is_symlink():
            raise DataError(f"{file}: a symbolic link; {again}")
        if not file.is_file():
            raise DataError(f"{file}: missing; {again}")
        if digest_of_file(file) != expected:
            raise DataError(f"{file}: altered: its SHA-256 is not the recorded one; {again}")


def hashes(meta: Mapping[str, Any]) -> dict[str, str]:
    """File of a corpus -> its SHA-256, meta.json apart, which has its own."""
    out = {f"{s}.bin": meta["splits"][s]["sha256"] for s in SPLITS}
    return {TOKENIZER: meta["tokenizer"], **out} if meta["tokenizer"] not in ("bytes", "unknown") else out


def members(meta: Mapping[str, Any]) -> list[str]:
    """The files of a corpus, in the order of an archive."""
    return [META, *hashes(meta)]


def _look(path: Path, meta: Mapping[str, Any]) -> tuple[tuple[str, int, int, int], ...]:
    out = []
    for name in members(meta):
        now = (path / name).stat()
        out.append((name, now.st_size, now.st_mtime_ns, now.st_ino))
    return tuple(out)

"""The embedded corpus: Python sources of wheels that are installed anyway.

``python_sources.tsv.xz`` lists (distribution, version, path, SHA-256) for the pinned versions, so that the
corpus is the same bytes everywhere. A distribution installed in another version is read by its own wheel's
RECORD instead; the corpus then has another digest, and says which distributions differ.

    python -m harness.data.source_list     after the pinned versions change
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.metadata
import lzma
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.documents import Document
from harness.errors import DataError

DISTRIBUTIONS = ("sympy", "scipy", "pandas", "scikit-learn", "networkx", "matplotlib", "numpy", "sqlalchemy")
MIN_BYTES = 200
LIST = Path(__file__).with_name("python_sources.tsv.xz")


def excluded(path: str) -> bool:
    """Files that differ between platforms or Python versions at the same version of the wheel."""
    return path in ("numpy/__config__.py", "scipy/__config__.py") or path.startswith("numpy/distutils/")


@dataclass(frozen=True)
class Listed:
    """The committed list."""

    versions: dict[str, str]
    """Distribution -> version listed."""
    files: dict[str, dict[str, str]]
    """Distribution -> path below its site folder -> SHA-256 in hex."""
    digest: str
    """Digest of the byte corpus that the listed files give."""


@functools.cache
def read_list(file: Path = LIST) -> Listed:
    """The committed list, parsed. Raises DataError if it is damaged."""
    versions: dict[str, str] = {}
    files: dict[str, dict[str, str]] = {}
    digest = ""
    try:
        for line in lzma.decompress(file.read_bytes()).decode().splitlines():
            kind, *rest = line.split("\t")
            if kind == "digest":
                (digest,) = rest
            elif kind == "version":
                versions[rest[0]] = rest[1]
                files[rest[0]] = {}
            else:
                path, sha256 = rest
                files[kind][path] = sha256
    except (OSError, lzma.LZMAError, ValueError, KeyError) as error:
        raise DataError(f"{file}: list of Python sources not readable ({error}); reinstall harness") from None
    return Listed(versions, files, digest)


def list_digest(file: Path = LIST) -> str:
    """SHA-256 of the list: when it changes, the corpus is built anew."""
    return _file_digest(file, file.stat().st_mtime_ns)


@functools.cache
def _file_digest(file: Path, modified_ns: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def installed(name: str) -> importlib.metadata.Distribution:
    """An installed distribution. Raises DataError naming it and how to get it."""
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise DataError(
            f"python_sources: {name} is not installed; pip install {name}=={read_list().versions.get(name, '')}, "
            "or bring the corpus from a machine that has it (harness data export, harness data import)"
        ) from None


def record_files(distribution: importlib.metadata.Distribution) -> dict[str, str]:
    """Path -> SHA-256 in hex of a wheel's Python sources that belong into the corpus, from its RECORD."""
    name = distribution.metadata["Name"]
    found = {}
    for file in distribution.files or []:
        path = file.as_posix()
        if file.suffix != ".py" or ".." in file.parts or excluded(path):
            continue
        if file.hash is None or file.hash.mode != "sha256" or file.size is None:
            raise DataError(
                f"python_sources: {name}'s RECORD gives no SHA-256 for {path}; reinstall it from a wheel"
            )
        if file.size >= MIN_BYTES:
            value = file.hash.value
            found[path] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    if not found:
        raise DataError(
            f"python_sources: {name} {distribution.version} has no RECORD of its files (not installed from a "
            f"wheel?); pip install --force-reinstall {name}=={distribution.version}"
        )
    return found


@dataclass(frozen=True)
class PythonSources:
    """The source files as documents, in the order of their hashes."""

    listed: Listed
    distributions: Sequence[str] = DISTRIBUTIONS

    @functools.cached_property
    def _installed(self) -> dict[str, importlib.metadata.Distribution]:
        return {name: installed(name) for name in self.distributions}

    @functools.cached_property
    def _versions(self) -> dict[str, str]:
        return {name: distribution.version for name, distribution in self._installed.items()}

    @functools.cached_property
    def _files(self) -> dict[str, dict[str, str]]:
        """Distribution -> path -> SHA-256: from the list where the version agrees, else from its RECORD."""
        return {
            name: self.listed.files[name] if version == self.listed.versions.get(name)
            else record_files(self._installed[name])
            for name, version in self._versions.items()
        }

    @functools.cached_property
    def _unique(self) -> dict[str, tuple[str, str]]:
        """SHA-256 -> (distribution, path), in the order of the hashes, duplicates dropped."""
        found: dict[str, tuple[str, str]] = {}
        for name, files in self._files.items():
            for path, sha256 in sorted(files.items()):
                found.setdefault(sha256, (name, path))
        return dict(sorted(found.items()))

    def _path(self, name: str, path: str) -> Path:
        return Path(str(self._installed[name].locate_file(path)))

    def documents(self) -> Iterator[Document]:
        """Each file once. Raises DataError for a file that is missing or is not what its hash says."""
        for sha256, (name, path) in self._unique.items():
            file, version = self._path(name, path), self._versions[name]
            fix = f"pip install --force-reinstall --no-deps {name}=={version}"
            try:
                text = file.read_bytes()
            except OSError as error:
                raise DataError(f"{file}: not readable ({error.strerror}); {fix}") from None
            if hashlib.sha256(text).hexdigest() != sha256:
                raise DataError(f"{file}: altered: its SHA-256 is not that of {name} {version}; {fix}")
            yield Document(sha256, len(text), functools.partial(iter, (text,)))

    def total_bytes(self) -> int | None:
        """Size of all files, for progress."""
        files = [self._path(*found) for found in self._unique.values()]
        return sum(f.stat().st_size for f in files if f.is_file())

    def about(self) -> dict[str, Any]:
        differing = {
            name: {"installed": version, "listed": self.listed.versions.get(name)}
            for name, version in self._versions.items() if version != self.listed.versions.get(name)
        }
        duplicates = sum(map(len, self._files.values())) - len(self._unique)
        return {
            "source": "Python sources of installed wheels",
            "rule": f"*.py of at least {MIN_BYTES} bytes, without numpy/__config__.py, scipy/__config__.py and "
                    "numpy/distutils; equal files once; in order of SHA-256",
            "versions": self._versions,
            "differing_versions": differing,
            "files": len(self._unique),
            "dropped": {"duplicates": duplicates},
        }


def list_lines(files: Mapping[str, Mapping[str, str]], versions: Mapping[str, str], digest: str) -> bytes:
    """The list in its compressed form; equal input gives equal bytes."""
    lines = [f"digest\t{digest}"]
    for name in files:
        lines.append(f"version\t{name}\t{versions[name]}")
        lines += [f"{name}\t{path}\t{sha256}" for path, sha256 in sorted(files[name].items())]
    return lzma.compress(("\n".join(lines) + "\n").encode(), preset=9)

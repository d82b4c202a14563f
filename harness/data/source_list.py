"""The list behind the embedded corpus, made anew after the pinned versions change: run it as a module."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.data.build import build_source
from harness.data.python_sources import (
    DISTRIBUTIONS,
    LIST,
    Listed,
    PythonSources,
    installed,
    list_lines,
    record_files,
)
from harness.data.spec import DataSpec


def write_list(file: Path = LIST) -> str:
    """List the installed versions, build their corpus in a temporary folder, and return its digest."""
    files = {name: record_files(installed(name)) for name in DISTRIBUTIONS}
    versions = {name: installed(name).version for name in DISTRIBUTIONS}
    with tempfile.TemporaryDirectory() as folder:
        source = PythonSources(Listed(versions, files, ""))
        corpus = build_source(DataSpec(name="python_sources"), source, Path(folder))
    file.write_bytes(list_lines(files, versions, corpus.digest))
    return corpus.digest


if __name__ == "__main__":
    print(f"{LIST}: digest {write_list()}, {LIST.stat().st_size:,} bytes")

"""Which installed code a module name means: a distribution and its version, or sources that may be edited."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

KNOWN = {"torch": "its build is in the numerics class"}
"""Top-level module -> why its version need not be said here."""


@cache
def _owners() -> dict[str, list[str]]:
    return {top: sorted(set(names)) for top, names in metadata.packages_distributions().items()}


def is_known(top: str) -> bool:
    """Whether Python or an installed distribution has a module of this name."""
    return top in sys.stdlib_module_names or top in _owners()


def matters(top: str) -> bool:
    """Whether this top-level name is of code that Python or the numerics class do not already stand for."""
    return top not in sys.stdlib_module_names and top not in KNOWN


def versions(top: str) -> dict[str, str]:
    """``distribution NAME`` -> version, of those that hold this top-level name unless they may be edited."""
    return {
        f"distribution {name}": metadata.version(name)
        for name in _owners().get(top, [])
        if not _is_editable(metadata.distribution(name))
    }


def _is_editable(distribution: metadata.Distribution) -> bool:
    # PEP 610: where it was installed from.
    about = json.loads(distribution.read_text("direct_url.json") or "{}")
    return bool(about.get("dir_info", {}).get("editable"))


def folder(top: str) -> Path | None:
    """The folder that a top-level module lies in, or None where there is none or it is no source."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin and spec.origin.endswith(".py") else None

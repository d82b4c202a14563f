"""Small dictionaries: paths opened into nests, one laid over another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` -> ``{"a": {"b": 1}}``."""
    out: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split(".")
        node = out
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    return out


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of base with patch laid over it; dictionaries merge, all else replaces.

    A method section whose patch names another method replaces the section.
    """
    out = dict(base)
    for key, value in patch.items():
        old = out.get(key)
        renames = (
            isinstance(value, Mapping)
            and isinstance(old, Mapping)
            and ("name" in value and "name" in old and value["name"] != old["name"])
        )
        if isinstance(value, Mapping) and isinstance(old, Mapping) and not renames:
            out[key] = merged(old, value)
        else:
            out[key] = value
    return out

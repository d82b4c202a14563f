"""From ``{"name": ..., field: value}`` to a method, its values checked; and back to what enters an identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness import registry
from harness.errors import PluginError, unknown
from harness.validation import told


@cache
def _adapter(cls: type) -> TypeAdapter:
    return TypeAdapter(cls)


def build(kind: str, config: Mapping[str, Any], where: str = "") -> Any:
    """A method from ``{"name": ..., field: value}``; values are checked against the dataclass.

    Raises UnknownNameError or PluginError naming the key, the value and the valid values.
    """
    fields = dict(config)
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise PluginError(f"{where or kind}: give 'name', one of {[e.name for e in registry.entries(kind)]}")
    cls = registry.method_class(kind, name, where)
    known = {f.name for f in dataclasses.fields(cls)}
    for key in fields:
        if key not in known:
            raise unknown(f"key of {kind} {name!r}", key, known, where)
    try:
        return _adapter(cls).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise PluginError(
            f"{where + ': ' if where else ''}{kind} {name!r}, key {place!r}: {told(first)}"
        ) from None


def canonical(kind: str, config: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """The method's config with fields at their defaults left out: what enters a trial's identity."""
    method = build(kind, config, where)
    out: dict[str, Any] = {"name": config["name"]}
    for f in dataclasses.fields(method):
        value = getattr(method, f.name)
        default = (
            f.default
            if f.default is not dataclasses.MISSING
            else (
                f.default_factory() if f.default_factory is not dataclasses.MISSING else dataclasses.MISSING
            )
        )
        if default is dataclasses.MISSING or value != default:
            out[f.name] = value
    return out

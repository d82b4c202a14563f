"""Suites and methods in words: fields with their documentation, types and defaults."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import yaml
from pydantic import TypeAdapter

from harness import registry
from harness.planning.suite import Suite


def method(kind: str, name: str) -> dict[str, Any]:
    """What a method is and what each field means."""
    cls = registry.method_class(kind, name)
    entry = registry.find(kind, name)
    schema = TypeAdapter(cls).json_schema()
    fields = []
    for f in dataclasses.fields(cls):
        about = schema.get("properties", {}).get(f.name, {})
        default: Any = "required"
        if f.default is not dataclasses.MISSING:
            default = f.default
        elif f.default_factory is not dataclasses.MISSING:
            default = f.default_factory()
        fields.append(
            {"field": f.name, "type": str(f.type), "default": default, "about": about.get("description", "")}
        )
    return {
        "kind": kind,
        "name": name,
        "origin": entry.origin,
        "about": inspect.getdoc(cls) or "",
        "module": registry.summary(entry),
        "fields": fields,
        "unavailable": registry.unavailable(kind, name),
    }


def as_text(described: dict[str, Any]) -> str:
    """The same for a reader."""
    lines = [
        f"{described['kind']} {described['name']} ({described['origin']})",
        described["module"],
        "",
        described["about"],
        "",
    ]
    if described["unavailable"]:
        lines.append(f"cannot run here: {described['unavailable']}")
    for f in described["fields"]:
        lines.append(f"  {f['field']}: {f['type']} = {f['default']}")
        if f["about"]:
            lines.append(f"      {f['about']}")
    return "\n".join(lines)


def suite_text(suite: Suite) -> str:
    """A suite as resolved: the question first, then everything as YAML."""
    body = suite.model_dump(mode="json", exclude_defaults=True)
    for key in ("name", "title", "question"):
        body.pop(key, None)
    return f"{suite.title}\n{suite.question}\n\n" + yaml.safe_dump(
        body, sort_keys=False, allow_unicode=True, width=100
    )

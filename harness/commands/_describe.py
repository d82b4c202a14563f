"""Things with fields in words: what each field means, its type and its default, read from the code itself."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from harness.commands._arguments import MEANINGS
from harness.planning.suite import Suite

REQUIRED = "required"
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "a multiple of", "min_length": "length >="}
"""Constraints that pydantic keeps beside a type -> how they are read."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One thing that a user may set."""

    field: str
    """Its key; dotted within sections, ``*`` for any name or place."""
    type: str
    default: Any
    """As JSON holds it; 'required' where there is none."""
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Described:
    """A thing that has a name, in full."""

    kind: str
    name: str
    summary: str
    """One line."""
    about: str = ""
    """The documentation of the thing itself."""
    origin: str = ""
    """Where it comes from, if not from here."""
    unavailable: str | None = None
    """Why it cannot run on this machine."""
    fields: list[Field] = dataclasses.field(default_factory=list)
    facts: list[str] = dataclasses.field(default_factory=list)
    """Further lines: metrics of a workload, what an estimator needs."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return dataclasses.asdict(self)


def as_text(described: Described) -> str:
    """The same for a reader."""
    origin = f" ({described.origin})" if described.origin else ""
    lines = [f"{described.kind} {described.name}{origin}", described.summary, ""]
    if about := described.about.removeprefix(described.summary).strip():
        lines += [about, ""]
    if described.unavailable:
        lines += [f"cannot run here: {described.unavailable}", ""]
    for f in described.fields:
        value = f.default if f.default == REQUIRED else f"= {_shown(f.default)}"
        lines.append(f"  {f.field}: {f.type} {value}")
        if f.about:
            lines += [f"      {line}" for line in f.about.splitlines()]
    lines += ["", *described.facts] if described.facts else []
    return "\n".join(lines).rstrip()


def suite_text(suite: Suite) -> str:
    """A suite as resolved: the question first, then everything as YAML."""
    body = suite.model_dump(mode="json", exclude_defaults=True)
    for key in ("name", "title", "question"):
        body.pop(key, None)
    return f"{suite.title}\n{suite.question}\n\n" + yaml.safe_dump(
        body, sort_keys=False, allow_unicode=True, width=100
    )


# --- fields ------------------------------------------------------------------------------------------------


def fields_of(thing: type) -> list[Field]:
    """Fields of a dataclass, or keys of a pydantic model with those of its sections."""
    if dataclasses.is_dataclass(thing):
        return _of_dataclass(thing)
    assert issubclass(thing, BaseModel)
    return list(_of_model(thing, "", ()))


def _of_dataclass(cls: type) -> list[Field]:
    about = TypeAdapter(cls).json_schema().get("properties", {})
    hints = typing.get_type_hints(cls, include_extras=True)
    out = []
    for f in dataclasses.fields(cls):
        default: Any = REQUIRED
        if f.default is not dataclasses.MISSING:
            default = plain(f.default)
        elif f.default_factory is not dataclasses.MISSING:
            default = plain(f.default_factory())
        said = about.get(f.name, {}).get("description", "") or _said_in_bases(cls, f.name)
        out.append(Field(field=f.name, type=type_text(hints[f.name]), default=default, about=said))
    return out


def _said_in_bases(cls: type, field: str) -> str:
    """The line under an inherited field, in the class that has it."""
    for base in cls.__mro__:
        if field in vars(base).get("__annotations__", {}):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(tree, ast.ClassDef)
            for statement, below in itertools.pairwise(tree.body):
                if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == field:
                    said = below.value if isinstance(below, ast.Expr) else None
                    return inspect.cleandoc(str(said.value)) if isinstance(said, ast.Constant) else ""
    return ""


def _of_model(model: type[BaseModel], prefix: str, above: tuple[type, ...]) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        default = REQUIRED if info.is_required() else plain(info.get_default(call_default_factory=True))
        yield Field(
            field=prefix + name,
            type=_bounded(type_text(info.annotation), info.metadata),
            default=default,
            about=inspect.cleandoc(info.description or ""),
        )
        for place, section in _sections(info.annotation):
            if section not in above:
                yield from _of_model(section, f"{prefix}{name}.{place}", (*above, model, section))


def _sections(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """(what lies between the field's key and the section's, model) of each model within a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
        return
    inside = typing.get_args(annotation)
    place = "*." if typing.get_origin(annotation) in (list, dict, tuple) else ""
    for part in inside:
        yield from ((place + rest, model) for rest, model in _sections(part))


def parameters_of(function: Callable[..., Any]) -> list[Field]:
    """Parameters of a function or a class: each is explained by its annotation, the docstring, or what the name
    means everywhere."""
    signature = inspect.signature(function)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError:
        hints = {}
    text = inspect.getdoc(function) or ""
    out = []
    for p in signature.parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        notes = [m for m in getattr(hints.get(p.name), "__metadata__", ()) if isinstance(m, str)]
        out.append(Field(
            field=p.name,
            type=type_text(hints.get(p.name, p.annotation)),
            default=REQUIRED if p.default is p.empty else plain(p.default),
            about=notes[0] if notes else _meaning(p.name, _said_of(p.name, text)),
        ))  # fmt: skip
    return out


def _meaning(name: str, said: str) -> str:
    """What the docstring says of a parameter, or what its name means everywhere; both where it says the default."""
    common = MEANINGS.get(name, "")
    if said.startswith("default") and common:
        return f"{common.partition('; default')[0].rstrip('.')}; {said}."
    return said or common


def _said_of(name: str, text: str) -> str:
    """What a docstring says of a parameter: after ``name`` and a colon, to the sentence's end or the next name."""
    found = re.search(rf"``{name}``: (.+?)(?=;\s+``|(?<!e\.g)\.\s|\.?$)", text + "\n", re.DOTALL)
    return " ".join(found[1].split()) if found else ""


# --- types and values in words -----------------------------------------------------------------------------


def type_text(annotation: Any) -> str:
    """A type as its author would write it, without module names, with its bounds: ``float > 0 | None``."""
    if annotation in (inspect.Parameter.empty, ""):
        return "any"
    if annotation is types.NoneType:
        return "None"
    inside = typing.get_args(annotation)
    if isinstance(annotation, type) and not inside:
        return annotation.__name__
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " | ".join(type_text(a) for a in inside)
    if typing.get_origin(annotation) is typing.Annotated:
        return _bounded(type_text(inside[0]), inside[1:])
    # Dotted names outside of quotes lose their modules: collections.abc.Mapping is Mapping.
    return re.sub(r"(?<![\w'\"])[a-z_][\w.]*\.(?=[A-Z])", "", str(annotation))


def _bounded(text: str, metadata: Iterable[Any]) -> str:
    """A type's words with the constraints that pydantic keeps beside it."""
    parts = [p for m in metadata for p in (m.metadata if isinstance(m, FieldInfo) else [m])]
    bounds = [
        f"{word} {value:g}"
        for part in parts
        for key, word in BOUNDS.items()
        if (value := getattr(part, key, None)) is not None
    ]
    kept, none, _ = text.partition(" | None")
    return f"{kept} {', '.join(bounds)}{none}" if bounds else text


def plain(value: Any) -> Any:
    """A default as JSON holds it."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _shown(value: Any) -> str:
    """A default as YAML writes it in a line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()

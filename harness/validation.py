"""What pydantic refuses, said once for all: the place, the key, what is valid, and what was given."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import unknown

_PARTS_OF_TYPES = ("function-", "dict[", "list[", "tuple[")
"""How pydantic names a step into a type rather than a key."""


def explained(error: ValidationError, model: type[BaseModel], place: Callable[[Sequence[str]], str]) -> str:
    """A line for each problem of this model's values: ``<place>: key 'a.b': <what is valid> (got <value>)``.

    ``place``: from the keys that lead to a problem to where a user finds it.
    """
    return "\n".join(_line(problem, model, place) for problem in error.errors())


def _line(problem: Mapping[str, Any], model: type[BaseModel], place: Callable[[Sequence[str]], str]) -> str:
    keys = [str(k) for k in problem["loc"] if not str(k).startswith(_PARTS_OF_TYPES)]
    where, key = place(keys), ".".join(keys)
    if problem["type"] == "extra_forbidden":
        return str(unknown("key", keys[-1], fields_at(model, keys[:-1]), f"{where}: {key}"))
    if problem["type"] == "missing":
        return f"{where}: key {key!r} is missing"
    return f"{where}: key {key!r}: {told(problem)}" if key else f"{where}: {told(problem)}"


def told(problem: Mapping[str, Any]) -> str:
    """What is valid, and the value that was given in its place; a whole section is not shown again."""
    value = problem["input"]
    shown = "" if isinstance(value, Mapping) else f" (got {value!r})"
    return f"{problem['msg'].removeprefix('Value error, ')}{shown}"


def fields_at(model: Any, keys: Sequence[str]) -> list[str]:
    """Names of the fields of the model that these keys lead to, through mappings, lists and unions."""
    for key in keys:
        fields = getattr(model, "model_fields", None)
        if fields is None:
            break
        # A key of a mapping leads to the mapping's values: the model stays until a field is named.
        if key in fields:
            model = _inner(fields[key].annotation) or model
    return list(getattr(model, "model_fields", {}))


def _inner(annotation: Any) -> Any:
    """The model that an annotation holds, however it is wrapped; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in reversed(typing.get_args(annotation)):
        if (found := _inner(argument)) is not None:
            return found
    return None

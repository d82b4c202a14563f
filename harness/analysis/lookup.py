"""An estimator by name: found by file, checked against its signature, applied."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

import harness.analysis.estimators as package
from harness.analysis.estimate import Estimate
from harness.analysis.evidence import Evidence
from harness.analysis.registry import REGISTRY, Facts, Registered
from harness.errors import ClaimError, unknown


@cache
def _load() -> Mapping[str, Registered]:
    """Every file of the package, imported: importing registers what a file defines."""
    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{found.name}")
    return REGISTRY


def find(name: str, where: str = "") -> Registered:
    """The estimator of this name; UnknownNameError with 'did you mean' otherwise."""
    known = _load()
    if name not in known:
        raise unknown("estimator", name, known, where)
    return known[name]


def facts(name: str) -> Facts:
    """What must be known of the estimator before it runs."""
    return find(name).facts


def names() -> dict[str, str]:
    """Estimator -> first line of its documentation."""
    return {n: (inspect.getdoc(e.function) or "").split("\n")[0] for n, e in sorted(_load().items())}


def parameters_of(name: str, where: str = "") -> list[inspect.Parameter]:
    """An estimator's arguments."""
    return list(inspect.signature(find(name, where).function).parameters.values())[1:]


def argument(specification: Mapping[str, Any], name: str) -> Any:
    """The value that an estimator's argument has, its default included; None if it takes no such argument."""
    for parameter in parameters_of(specification["name"]):
        if parameter.name == name:
            default = None if parameter.default is inspect.Parameter.empty else parameter.default
            return specification.get(name, default)
    return None


def check_arguments(name: str, arguments: Mapping[str, Any], where: str = "") -> None:
    """Unknown, missing or mistyped arguments of an estimator: an error that lists them, or says the type."""
    parameters = parameters_of(name, where)
    place = f"{where}: estimator {name!r}" if where else f"estimator {name!r}"
    known = [p.name for p in parameters]
    missing = [p.name for p in parameters if p.default is inspect.Parameter.empty and p.name not in arguments]
    for key, value in arguments.items():
        if key not in known:
            raise unknown("argument", key, known, place)
        try:
            _types(name)[key].validate_python(value)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise ClaimError(f"{place}: {key} is {value!r}: {said[0].lower()}{said[1:]}") from None
    if missing:
        raise ClaimError(f"{place} needs {', '.join(missing)}; its arguments: {', '.join(known)}")


@cache
def _types(name: str) -> dict[str, TypeAdapter[Any]]:
    """Argument -> its type, as the estimator's signature says."""
    hints = get_type_hints(find(name).function)
    return {p.name: TypeAdapter(hints[p.name]) for p in parameters_of(name)}


def run(evidence: Evidence, specification: Mapping[str, Any]) -> Estimate:
    """Applies the estimator named in ``{name: ..., argument: ...}``."""
    arguments = {k: v for k, v in specification.items() if k != "name"}
    check_arguments(specification["name"], arguments, f"claim {evidence.claim!r}" if evidence.claim else "")
    return find(specification["name"]).function(evidence, **arguments)

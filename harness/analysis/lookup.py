"""An estimator by name: found by file, checked against its signature, applied."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

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
    """Unknown or missing arguments of an estimator: an error that lists its arguments."""
    parameters = parameters_of(name, where)
    known = [p.name for p in parameters]
    for key in arguments:
        if key not in known:
            raise unknown(
                "argument", key, known, f"{where}: estimator {name!r}" if where else f"estimator {name!r}"
            )
    missing = [p.name for p in parameters if p.default is inspect.Parameter.empty and p.name not in arguments]
    if missing:
        raise ClaimError(
            f"{where + ': ' if where else ''}estimator {name!r} needs {', '.join(missing)}; "
            f"its arguments: {', '.join(known)}"
        )


def run(evidence: Evidence, specification: Mapping[str, Any]) -> Estimate:
    """Applies the estimator named in ``{name: ..., argument: ...}``."""
    arguments = {k: v for k, v in specification.items() if k != "name"}
    check_arguments(specification["name"], arguments, f"claim {evidence.claim!r}" if evidence.claim else "")
    return find(specification["name"]).function(evidence, **arguments)

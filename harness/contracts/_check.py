"""The checks of a kind applied to a method, a baseline or a user's alike."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from harness import registry
from harness.errors import HarnessError
from harness.methods.construct import build


def check_method(kind: str, name: str) -> list[str]:
    """Every breach of the kind's contract, in words; empty where the method keeps it. Needs torch."""
    where = f"{kind} {name!r}"
    if reason := registry.unavailable(kind, name):
        return [f"{where}: cannot run here: {reason}"]
    try:
        method = default_instance(kind, name)
    except HarnessError as error:
        return [str(error)]
    contract = importlib.import_module(f"harness.contracts.{kind}")
    missing = [m for m in _members(contract.PROTOCOL) if not hasattr(method, m)]
    if missing:
        return [f"{where}: lacks {', '.join(missing)}; see {contract.PROTOCOL.__name__} in harness.methods.{kind}"]
    try:
        return [f"{where}: {problem}" for problem in contract.check(method)]
    except Exception as error:
        return [f"{where}: {type(error).__name__} while checking: {error}"]


def default_instance(kind: str, name: str) -> Any:
    """The method with its defaults, a required learning rate set to 0.01; or the ``example()`` of one that cannot
    do its work by its defaults, e.g. for want of a file."""
    cls = registry.method_class(kind, name)
    if example := getattr(cls, "example", None):
        return example()
    config: dict[str, Any] = {"name": name}
    for f in dataclasses.fields(cls):
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            if f.name != "lr":
                raise HarnessError(f"{kind} {name!r}: field {f.name!r} needs a default, so that it can be checked")
            config["lr"] = 0.01
    return build(kind, config)


def _members(protocol: type) -> list[str]:
    return [m for m in {**protocol.__annotations__, **vars(protocol)} if not m.startswith("_")]

"""What an estimator returns, and the registry that lets suites name estimators."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import ClaimError, unknown


@dataclass(frozen=True, kw_only=True)
class Part:
    """One estimated number on the scale on which its error is symmetric (ln for ratios)."""

    value: float
    se: float
    """Standard error; 0 with infinite df for a number without sampling error."""
    df: float
    pairs: tuple[float, ...] | None = None
    """Differences for an exact sign-flip test, which then gives the p values in place of t."""
    label: str = ""
    """Which part, where there are several: a checkpoint, a pair of widths, a layer."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One or several numbers with their errors, and what they rest on."""

    parts: tuple[Part, ...]
    """Several only where the claim is about all of them."""
    unit: str
    """Unit of the displayed numbers, e.g. ``nats per byte`` or ``ratio of compute``."""
    log: bool = False
    """Parts are natural logarithms; regions and displays are not."""
    exact: bool = False
    """No sampling error: an identity."""
    num_sizes: int = 1
    num_seeds: int = 1
    """Fewest fresh seeds in a cell."""
    num_trials: int = 0
    seed_sd: float | None = None
    """Sd over seeds of what is averaged (paired differences where paired), root mean square over cells."""
    estimators_agree: bool | None = None
    """Where several estimators answer: all on one side, none resolving the other way."""
    table: list[dict[str, Any]] = field(default_factory=list)
    """A few rows a reader wants to see."""
    forms: list[dict[str, Any]] = field(default_factory=list)
    """The same question answered by each form of the estimator, where it has several."""
    notes: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    """Records used."""
    arms: tuple[str, ...] = ()

    def shown(self, value: float) -> float:
        """A number on the displayed scale."""
        return float(np.exp(value)) if self.log else float(value)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The records of one suite as tables; see the seam in :mod:`harness.analysis.claims`."""

    trials: pd.DataFrame
    probes: pd.DataFrame | None = None
    curves: pd.DataFrame | None = None
    claim: str = ""
    """Id of the claim being answered, for messages."""

    def refuse(self, why: str, cure: str) -> ClaimError:
        """The error that names the claim, the reason and the cure."""
        name = f"claim {self.claim!r}: " if self.claim else ""
        return ClaimError(f"{name}{why}; {cure}")


Estimator = Callable[..., Estimate]
_REGISTRY: dict[str, Estimator] = {}


def estimator(function: Estimator) -> Estimator:
    """Registers an estimator under its function's name."""
    if function.__name__ in _REGISTRY:
        raise AssertionError(f"two estimators named {function.__name__}")
    _REGISTRY[function.__name__] = function
    return function


def find(name: str, where: str = "") -> Estimator:
    """The estimator of this name; UnknownNameError with 'did you mean' otherwise."""
    _load()
    if name not in _REGISTRY:
        raise unknown("estimator", name, _REGISTRY, where)
    return _REGISTRY[name]


def names() -> dict[str, str]:
    """Estimator -> first line of its documentation."""
    _load()
    return {n: (inspect.getdoc(f) or "").split("\n")[0] for n, f in sorted(_REGISTRY.items())}


def _load() -> None:
    # Registered by import, here and not above, since these modules import this one.
    from harness.analysis.estimators import probes as estimators_probes
    from harness.analysis.estimators import quality as estimators_quality
    from harness.analysis.estimators import scaling as estimators_scaling
    from harness.analysis.estimators import transfer as estimators_transfer

    assert estimators_probes and estimators_quality and estimators_scaling and estimators_transfer


def arguments_of(name: str) -> list[str]:
    """Names of an estimator's arguments."""
    return list(inspect.signature(find(name)).parameters)[1:]


def check_arguments(name: str, arguments: Mapping[str, Any], where: str = "") -> None:
    """Unknown or missing arguments of an estimator: an error that lists its arguments."""
    parameters = list(inspect.signature(find(name, where)).parameters.values())[1:]
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
    return find(specification["name"])(evidence, **arguments)


def columns_needed(
    evidence: Evidence, frame: pd.DataFrame | None, columns: Sequence[str], what: str
) -> pd.DataFrame:
    """The frame, or the error that names the missing columns and those there are."""
    if frame is None or frame.empty:
        raise evidence.refuse(f"no {what} were recorded", f"run the suite with what this claim needs ({what})")
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise evidence.refuse(
            f"the {what} have no column {', '.join(repr(c) for c in missing)}",
            f"name one that they have: {', '.join(map(str, frame.columns))}",
        )
    return frame

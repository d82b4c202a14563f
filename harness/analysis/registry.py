"""The estimators that suites may name, each with its own facts; nobody else keeps lists of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.analysis.estimate import Estimate, Scale

Frame = Literal["trials", "curves", "probes", "tables"]
Columns = str | list[str]
"""One column, arm or the like, or several."""
Steps = Literal["last", "all"]
"""Checkpoints of a probe: the last that every trial has, or all of those."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """What a plan gives one claim's test."""

    sizes: int
    """Cells along the size axis that all its arms run."""
    seeds: int
    """Evaluation seeds a cell."""
    arms: int = 1
    """Arms whose scatter is pooled."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """The estimator's, as the claim gives them."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What a plan expects to scatter."""

    sd: float
    """Sd of a paired difference, in the metric's unit."""
    misfit: float
    """Sd of what a size adds to the arms' difference (grid error, shape)."""
    exponent: float
    """Of loss against compute."""
    loss: float
    """Mean of the metric."""
    scatter: float = 0.1
    """Of optima about their line, octaves."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The standard error that a plan would leave."""

    se: float
    scale: Scale = "linear"
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What must be known of an estimator before it runs."""

    df: Callable[[Design], float]
    """Degrees of freedom of its interval under a plan; infinite for an identity."""
    reads: tuple[Frame, ...] = ("trials",)
    """Tables that it cannot do without."""
    uses: tuple[Frame, ...] = ()
    """Tables that it takes into account where they are there."""
    least_sizes: int = 1
    """Sizes below which it refuses."""
    error: Callable[[Design, Noise], Expected] | None = None
    """The standard error to expect; None where no plan tells it."""
    in_nats: bool = False
    """Whether the number is in the metric's own unit: nats for a loss, so that a margin has a worth in compute."""
    forms: tuple[str, ...] = ()
    """Values of ``form``: other answers to the same question, each a choice that a verdict must survive."""
    slope: bool = False
    """Whether the number is a slope over sizes."""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """An estimator with its facts."""

    function: Callable[..., Estimate]
    facts: Facts


REGISTRY: dict[str, Registered] = {}
"""Name -> estimator; filled as the files of :mod:`harness.analysis.estimators` are imported."""


def estimator(facts: Facts) -> Callable[[Callable[..., Estimate]], Callable[..., Estimate]]:
    """Registers an estimator with its facts under its function's name."""

    def register(function: Callable[..., Estimate]) -> Callable[..., Estimate]:
        name = function.__name__
        if name in REGISTRY:
            raise AssertionError(f"two estimators named {name}")
        REGISTRY[name] = Registered(function=function, facts=facts)
        return function

    return register


# --- degrees of freedom under a plan, shared by several estimators -----------------------------------------------


def by_size(design: Design) -> float:
    """Delete-one-size jackknife, or t over cell means."""
    return design.sizes - 1.0


def by_line(design: Design) -> float:
    """A line through one point a size."""
    return design.sizes - 2.0


def by_seed(design: Design) -> float:
    """One cell's seeds."""
    return design.seeds - 1.0


def no_error(design: Design) -> float:
    """A number without sampling error."""
    return float("inf")

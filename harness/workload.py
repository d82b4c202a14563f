"""The seam of workloads: what one declares, receives and returns, and how a name becomes one.

A workload is a module of its own in ``harness/workloads``, found by file name. It knows nothing of suites, stores,
trackers or searches, and offers

    Config                pydantic model of the whole trial config (frozen, extra forbidden)
    METHODS               config section -> kind of method, e.g. {"optimizer": "optimizer"}
    METRICS               metric -> Metric: what readers, estimators and the gate must know of each
    data_spec(config)     what data it reads, for harness.data, or None
    cost(config)          -> Cost, without training
    run(trial, config, context) -> Outcome
    evaluate(trial, config, context) -> Outcome: metrics and tables of the weights in context.weights_file, without
                          an optimizer (optional; where it is missing, a user's method cannot be verified)

Declarations only, nothing that could change a number: records do not go stale when a field is added here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from harness.errors import unknown
from harness.outcome import Curve, Table


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is to be known of a number that records hold."""

    label: str
    """In a reader's words, without the unit."""
    unit: str = ""
    """E.g. nats per token; empty for counts and shares."""
    cap: str | None = None
    """Metric whose value a diverged trial counts with (the trivial loss, for losses); None: a mean over survivors
    is refused."""
    better: Literal["lower", "higher"] = "lower"
    """Which way is good."""
    shown: bool = False
    """Whether result tables show it."""
    compared: bool = False
    """Whether the regression gate holds it to the reference, bit for bit within a numerics class."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a trial will take, from its config alone."""

    flops: float
    """Model and optimizer FLOPs of training."""
    parameters: int = 0
    """Non-embedding parameters."""
    tokens: int = 0
    """Training tokens."""


@dataclass(kw_only=True)
class Context:
    """What a workload receives beside its trial."""

    data_folder: Path
    """Where built data sets lie."""
    work_folder: Path
    """This trial's own scratch folder: checkpoints. Survives a kill."""
    artifact_folder: Path
    """Files left here belong to the record."""
    probes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Probe name -> settings."""
    needs: Mapping[str, Path] = field(default_factory=dict)
    """Name -> artifact folder of a needed trial."""
    weights_file: Path | None = None
    """Where a run leaves the weights that it was last evaluated with, and ``evaluate`` finds them."""
    checkpoint_token: str = ""
    """Fingerprint and numerics class: a checkpoint with another token is not resumed."""
    checkpoint_seconds: float = 30.0
    """Least time between checkpoints."""
    on_progress: Callable[[float], None] = lambda share: None
    """Called now and then with the share of work done (0 to 1)."""


@dataclass(kw_only=True)
class Outcome:
    """What a workload returns. A run that diverged sets ``diverged_step``."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    probes: dict[str, Table] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    """What is kept in more detail than a metric: per image, per block of the test split."""
    seconds: dict[str, float] = field(default_factory=dict)
    diverged_step: int | None = None
    reason: str = ""
    resumed: int = 0
    notes: list[str] = field(default_factory=list)
    """What happened on the way and changed no number."""


@cache
def workload_module(name: str, where: str = "") -> ModuleType:
    """The workload's module; UnknownNameError with 'did you mean' otherwise."""
    import harness.workloads

    # The package's path may have been extended by an installed package or a plug-in.
    known = {f.stem for p in harness.workloads.__path__ for f in Path(p).glob("*.py") if f.stem[0] != "_"}
    if name not in known:
        raise unknown("workload", name, known, where)
    return importlib.import_module(f"harness.workloads.{name}")


def method_sections(module: ModuleType, config: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(section, kind, method config) for each method that a validated config names."""
    for section, kind in module.METHODS.items():
        value = getattr(config, section)
        if value is not None:
            yield section, kind, value

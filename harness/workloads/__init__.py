"""Workloads: the work that a trial does. One module each, found by file name; the seam is below.

A workload knows nothing of suites, stores, trackers or searches. Its module offers

    Config                pydantic model of the whole trial config (frozen, extra forbidden)
    METHODS               config section -> kind of method, e.g. {"optimizer": "optimizer"}
    data_spec(config)     what data it reads, for harness.data, or None
    cost(config)          -> Cost, without training
    run(trial, config, context) -> Outcome
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.record import Curve, Table


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
    seconds: dict[str, float] = field(default_factory=dict)
    diverged_step: int | None = None
    reason: str = ""
    resumed: int = 0

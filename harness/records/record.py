"""A record: what a trial left. Plain data; JSON without NaN; readable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from harness.outcome import Curve, Table, finite
from harness.trial import Trial

SCHEMA = 1

Status = Literal["completed", "diverged", "out_of_memory", "timed_out", "crashed", "skipped"]
Verified = Literal[
    "", "without the plug-in", "with the plug-in, loaded after the evaluation code",
    "not: the workload evaluates no stored weights",
]  # fmt: skip
FINISHED: frozenset[str] = frozenset({"completed", "diverged", "skipped"})
"""Outcomes that repeating would repeat; the others are run again on the next call."""


class Artifact(BaseModel):
    """A file that a trial left."""

    model_config = ConfigDict(frozen=True)
    file: str
    """Path below the trial's artifact folder."""
    sha256: str
    bytes: int


class Record(BaseModel):
    """One trial's outcome with its provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    trial: Trial
    status: Status
    reason: str = ""
    """Why it is not 'completed': exception, signal, missing hardware, last stderr lines."""
    diverged_step: int | None = None
    metrics: dict[str, float | None] = {}
    """Name -> value; None where it was not finite."""
    curves: dict[str, Curve] = {}
    probes: dict[str, Table] = {}
    artifacts: dict[str, Artifact] = {}
    seconds: dict[str, float] = {}
    """Clocks: setup, training, evaluation, probes, total."""
    fingerprint: dict[str, str] = {}
    """First-party module -> digest of its syntax tree."""
    plugins: dict[str, str] = {}
    """File name of each plug-in that the trial's process had loaded -> digest of its sources."""
    verified: Verified = ""
    """How the losses of a trial with plug-ins were recomputed from its weights, bit for bit the same; empty
    without plug-ins."""
    numerics_class: str = ""
    """Torch version, CPU capability or GPU model, deterministic flags: what bit-identity holds within."""
    environment: dict[str, Any] = {}
    """Versions, hardware, git SHA and dirtiness, constraints digest, exclusive or shared machine."""
    started: str = ""
    """UTC, ISO 8601."""
    resumed: int = 0
    """How often it went on from a checkpoint."""

    @field_validator("metrics", mode="before")
    @classmethod
    def _finite(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {k: finite(v) for k, v in value.items()}

    @property
    def identity(self) -> str:
        return self.trial.identity

    def lacks_probe(self, wanted: Mapping[str, Mapping[str, Any]]) -> str | None:
        """The first of these probes that was not measured with these settings, or None."""
        for name, settings in wanted.items():
            if name not in self.probes or self.probes[name].about.get("asked") != dict(settings):
                return name
        return None


class Planned(BaseModel):
    """A trial with its place in a suite. Labels are no part of its identity; suites share trials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial: Trial
    suite: str
    profile: str
    arm: str
    cell: dict[str, Any] = {}
    """Axis name -> value, tuned hyperparameters apart, e.g. ``{"size": "d24"}``."""
    role: Literal["tuning", "evaluation", "timing"] = "evaluation"
    hyperparameters: dict[str, Any] = {}
    """Config path -> value chosen by tuning or by the LR grid, e.g. ``{"optimizer.lr": 0.0078125}``."""
    probes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Probe name -> its settings."""
    selected: bool = False
    """Tuning trials: whether this point was chosen."""
    at_edge: bool = False
    """Evaluation trials: whether the chosen hyperparameters lie on an edge that closure could not leave."""

"""A record: what a trial left, and its place in a suite. Plain data; JSON without NaN; readable without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from harness.outcome import Curve, Table, finite
from harness.trial import Trial, digest

SCHEMA = 2
"""2: a checksum, tables, notes. See harness.records.encoding for what is read of older ones."""

Status = Literal["completed", "diverged", "out_of_memory", "timed_out", "crashed", "skipped"]
Verified = Literal[
    "", "without the plug-in", "with the plug-in, loaded after the evaluation code",
    "not: the workload evaluates no stored weights",
]  # fmt: skip
FINISHED: frozenset[str] = frozenset({"completed", "diverged", "skipped"})
"""Outcomes that repeating would repeat; the others are run again on the next call."""


def rests_on(fingerprint: dict[str, str], needs: Mapping[str, str]) -> dict[str, str]:
    """A fingerprint with the artifacts of needed trials as further entries; without any, the very same one."""
    return {**fingerprint, **{f"artifacts of {name}": d for name, d in needs.items()}} if needs else fingerprint


class Artifact(BaseModel):
    """A file that a trial left."""

    model_config = ConfigDict(frozen=True)
    file: str
    """Path below the trial's artifact folder."""
    sha256: str
    bytes: int


def artifacts_digest(artifacts: Mapping[str, Artifact]) -> str:
    """One digest of files and their places; empty where there are none."""
    return digest({a.file: a.sha256 for a in artifacts.values()}) if artifacts else ""


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
    tables: dict[str, Table] = {}
    """What the workload left a row each of, e.g. an image, a block of a document."""
    artifacts: dict[str, Artifact] = {}
    seconds: dict[str, float] = {}
    """Clocks: setup, training, evaluation, probes, total."""
    fingerprint: dict[str, str] = {}
    """First-party module -> digest of its syntax tree."""
    needs: dict[str, str] = {}
    """Name of a needed trial -> digest of its artifacts as read here (its identity is in the trial)."""
    plugins: dict[str, str] = {}
    """File name of each plug-in that the trial's process had loaded -> digest of its sources."""
    verified: Verified = ""
    """How the losses of a trial with plug-ins were recomputed from its weights, bit for bit the same; empty
    without plug-ins."""
    registrations: dict[str, str] = {}
    """Suite -> hash of the registration entry that the trial ran under; a suite that is absent had none."""
    numerics_class: str = ""
    """Torch version, CPU capability or GPU model, deterministic flags: what bit-identity holds within."""
    environment: dict[str, Any] = {}
    """Versions, hardware, git SHA and dirtiness, constraints digest, exclusive or shared machine."""
    started: str = ""
    """UTC, ISO 8601."""
    resumed: int = 0
    """How often it went on from a checkpoint."""
    notes: list[str] = []
    """What happened on the way and changed no number, e.g. a damaged checkpoint that was put aside."""

    @field_validator("metrics", mode="before")
    @classmethod
    def _finite(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {k: finite(v) for k, v in value.items()}

    @property
    def identity(self) -> str:
        return self.trial.identity

    @property
    def artifacts_digest(self) -> str:
        """One digest of all its files; empty where it left none."""
        return artifacts_digest(self.artifacts)

    @property
    def rests_on(self) -> dict[str, str]:
        """What its numbers rest on beside its identity: code, and the artifacts that it read."""
        return rests_on(self.fingerprint, self.needs)

    def lacks_probe(self, wanted: Mapping[str, Mapping[str, Any]]) -> str | None:
        """The first of these probes that was not measured with these settings, or None."""
        for name, settings in wanted.items():
            if name not in self.probes or self.probes[name].about.get("asked") != dict(settings):
                return name
        return None


def code_of(record: Record) -> str:
    """Short digest of what produced a record: fingerprint, artifacts that it read, and numerics class."""
    return digest([record.rests_on, record.numerics_class])[:10]


class Planned(BaseModel):
    """A trial with its place in a suite. Labels are no part of its identity; suites share trials."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial: Trial
    suite: str
    profile: str
    arm: str
    cell: dict[str, Any] = {}
    """Axis name -> value, tuned hyperparameters apart, e.g. ``{"size": "d24"}``."""
    role: Literal["tuning", "evaluation", "timing", "needed"] = "evaluation"
    """``needed``: only its artifacts are read, by other trials; its arm is the need's name."""
    hyperparameters: dict[str, Any] = {}
    """Config path -> value chosen by tuning or by the LR grid, e.g. ``{"optimizer.lr": 0.0078125}``."""
    probes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Probe name -> its settings."""
    selected: bool = False
    """Tuning trials: whether this point was chosen."""
    at_edge: bool = False
    """Evaluation trials: whether the chosen hyperparameters lie on an edge that closure could not leave."""


@dataclass(frozen=True)
class Row:
    """A planned trial and its record, if it has one that counts."""

    planned: Planned
    record: Record | None


@dataclass
class RecordSet:
    """All records of a store in memory."""

    by_identity: dict[str, list[Record]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Quarantined files and the like: to be shown to the user."""

    def add(self, record: Record) -> None:
        """Later records of the same code replace earlier ones."""
        self.discard(record)
        self.by_identity.setdefault(record.identity, []).append(record)

    def discard(self, record: Record) -> None:
        """Forget the record of this identity and code."""
        others = [r for r in self.by_identity.pop(record.identity, []) if code_of(r) != code_of(record)]
        if others:
            self.by_identity[record.identity] = others

    def __len__(self) -> int:
        return sum(len(v) for v in self.by_identity.values())

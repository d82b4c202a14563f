"""A trial: a resolved config and a seed index, with an identity."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

IDENTITY_LENGTH = 32
"""Hex digits of SHA-256 kept: 128 bits."""


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, integral floats and integers alike, no NaN."""

    def plain(v: Any) -> Any:
        if isinstance(v, bool) or v is None or isinstance(v, (str, int)):
            return v
        if isinstance(v, float):
            if not math.isfinite(v):
                raise ValueError(f"not finite: {v}")
            return int(v) if v.is_integer() and abs(v) < 2**53 else v
        if isinstance(v, Mapping):
            return {str(k): plain(x) for k, x in v.items()}
        if isinstance(v, Iterable):
            return [plain(x) for x in v]
        raise TypeError(f"no canonical form for {type(v).__name__}: {v!r}")

    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Trial(BaseModel):
    """One run, frozen. Equal identity means: same work on same data with the same random numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workload: str
    """File name of the workload in ``harness/workloads``."""
    config: dict[str, Any]
    """The resolved config, fields at their defaults left out (see each workload's ``Config``)."""
    seed: int = Field(ge=0)
    """Seed index; every random stream derives from it."""
    data: str = ""
    """Digest of the data that the trial reads; empty where it reads none."""
    needs: dict[str, str] = {}
    """Name -> identity of a trial whose artifact this one reads."""

    @field_validator("config")
    @classmethod
    def _copy(cls, value: dict[str, Any]) -> dict[str, Any]:
        return json.loads(canonical_json(value))

    @cached_property
    def identity(self) -> str:
        """Hex SHA-256 over workload, config, seed, data and needs."""
        fields: dict[str, Any] = {
            "workload": self.workload,
            "config": self.config,
            "seed": self.seed,
            "data": self.data,
        }
        if self.needs:
            fields["needs"] = self.needs
        return digest(fields)[:IDENTITY_LENGTH]

"""The values that a workload and its probes leave: curves and tables. Plain data; JSON without NaN."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict


def finite(value: float | None) -> float | None:
    """The value, or None if it is not a finite number."""
    return float(value) if value is not None and math.isfinite(value) else None


class Curve(BaseModel):
    """Values along training. ``values`` holds None where a value was not finite."""

    model_config = ConfigDict(frozen=True)
    steps: list[int]
    values: list[float | None]


class Table(BaseModel):
    """Rows that a probe measured; columns name their units where not obvious."""

    model_config = ConfigDict(frozen=True)
    columns: list[str]
    rows: list[list[Any]]
    about: dict[str, Any] = {}
    """What the numbers are: definition ids, dtype, cadence; ``asked``: the settings as a suite gave them."""

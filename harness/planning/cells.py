"""An arm in a cell: what a suite compares, at one combination of its axes' values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.records.record import Planned


@dataclass(frozen=True)
class ArmCell:
    """An arm in a cell."""

    arm: str
    cell: dict[str, Any]
    raw: dict[str, Any]
    """Its config, without hyperparameters."""
    seeds: int
    """Evaluation seeds."""

    @property
    def key(self) -> tuple[str, str]:
        """What its chosen hyperparameters are kept under."""
        return self.arm, key_of_cell(self.cell)

    def __str__(self) -> str:
        return f"arm {self.arm!r}" + "".join(f", {k} {v}" for k, v in self.cell.items())

    def holds(self, planned: Planned, role: str) -> bool:
        """Whether this trial is planned here, in this role."""
        return planned.arm == self.arm and planned.cell == self.cell and planned.role == role


def key_of_cell(cell: Mapping[str, Any]) -> str:
    """Text that equal cells share."""
    return json.dumps(dict(sorted(cell.items())), default=str)

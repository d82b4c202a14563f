"""What estimators read: the records of one suite as tables, its size axis, and what its metrics are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from harness.errors import ClaimError
from harness.workload import Metric


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The records of one suite as tables; see the seam in :mod:`harness.analysis.claims`."""

    trials: pd.DataFrame
    probes: pd.DataFrame | None = None
    curves: pd.DataFrame | None = None
    tables: pd.DataFrame | None = None
    size_axis: str | None = None
    """Axis whose values make a cell where a claim names none."""
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """The workload's metrics: units, and what a diverged trial counts with."""
    claim: str = ""
    """Id of the claim being answered, for messages."""
    equivalence: bool = False
    """The claim says that two arms are alike: a cell in which both are one trial is no evidence of it."""

    def refuse(self, why: str, cure: str) -> ClaimError:
        """The error that names the claim, the reason and the cure."""
        name = f"claim {self.claim!r}: " if self.claim else ""
        return ClaimError(f"{name}{why}; {cure}")

    def unit(self, metric: str, otherwise: str = "") -> str:
        """The metric's unit as its workload states it."""
        return self.metrics[metric].unit if metric in self.metrics else otherwise

    def cell_axes(self, by: Sequence[str] | None) -> list[str]:
        """The columns whose values make a cell: those named, else the size axis where the trials have it."""
        if by is not None:
            return [by] if isinstance(by, str) else list(by)
        axis = self.size_axis
        there = axis is not None and axis in self.trials.columns and self.trials[axis].notna().any()
        return [str(axis)] if there else []

    def axis(self, named: str | None) -> str:
        """The axis that was named, else the suite's size axis."""
        if named is None and self.size_axis is None:
            raise self.refuse("the suite has no size axis", "name one: axis: width")
        return named or str(self.size_axis)


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


def numeric_axis(evidence: Evidence, frame: pd.DataFrame, axis: str) -> pd.Series:
    """An axis as numbers; the error names the first value that is none."""
    values = pd.to_numeric(frame[axis], errors="coerce")
    if values.isna().any():
        text = frame[axis][values.isna()].iloc[0]
        raise evidence.refuse(
            f"{axis} {str(text)!r} is no number", "a slope or an order over an axis needs numbers"
        )
    return values.astype(float)

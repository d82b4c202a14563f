"""One suite's frames as figures and tables read them, and the reasons why one cannot be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from harness.errors import HarnessError
from harness.report.cells import lr_columns
from harness.report.colours import Palette
from harness.report.labels import Labels


class MissingDataError(HarnessError):
    """A figure's data is not there; the report prints the reason in its place."""


@dataclass(frozen=True)
class Frames:
    """What one suite's figures read; long frames as documented in harness.report.build."""

    trials: pd.DataFrame
    curves: pd.DataFrame
    probes: pd.DataFrame
    palette: Palette
    claims: Sequence[Mapping[str, Any]] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    record_tables: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What workloads left beside their metrics, long, one row a row of a trial's table."""
    axes: tuple[str, ...] = ()
    """Names of the suite's axes, its size first."""
    labels: Labels = field(default_factory=Labels)
    """What the columns hold."""
    selection: str = ""
    """Metric that chose the hyperparameters, where the suite tunes or sweeps."""

    def axis(self, chosen: str | None = None) -> str:
        """The axis that a figure runs over: the chosen one, else the suite's size."""
        for name in [chosen] if chosen else self.axes:
            if name in self.trials.columns and self.trials[name].notna().any():
                return str(name)
        raise MissingDataError(f"no trials with the axis {chosen!r}" if chosen else "no trials with a size axis")

    @property
    def size_axis(self) -> str | None:
        """Which axis is the suite's size."""
        return self.axes[0] if self.axes else None

    def metric(self, chosen: str | None = None, trials: pd.DataFrame | None = None) -> str:
        """The chosen metric, else the first that the workload shows and these trials have."""
        if chosen:
            return chosen
        have = self.trials if trials is None else trials
        found = [m for m in self.labels.shown() if m in have and have[m].notna().any()]
        if not found:
            raise MissingDataError("no metric that the workload shows; name one: metric")
        return found[0]

    def arms(self, frame: pd.DataFrame, chosen: Sequence[str] | None = None) -> list[str]:
        """Arms to draw, in the report's order; those chosen, where some are."""
        present = set(frame["arm"])
        found = [a for a in self.palette.arms if a in present and (not chosen or a in chosen)]
        if not found:
            raise MissingDataError(f"no trials of the arms {list(chosen)}" if chosen else "no trials")
        return found

    def ended(self, role: str) -> pd.DataFrame:
        """Trials of a role that ran to an end, good or bad."""
        found = self.trials[(self.trials["role"] == role) & self.trials["status"].isin(["completed", "diverged"])]
        if found.empty:
            raise MissingDataError(f"no finished {role} trials")
        return found

    def claim(self, chosen: str) -> Mapping[str, Any]:
        """The claim of this id, whose filter a figure takes."""
        for claim in self.claims:
            if claim.get("id") == chosen:
                return claim
        known = ", ".join(str(c.get("id")) for c in self.claims) or "none"
        raise MissingDataError(f"no claim {chosen!r} here; claims: {known}")


def axes_of(suite: Mapping[str, Any], trials: pd.DataFrame) -> tuple[str, ...]:
    """The suite's axes that its trials have, its size first: the one it names, else the first in its order."""
    present = [a for a in suite.get("axes") or () if a in trials and trials[a].notna().any()]
    return tuple(sorted(present, key=lambda a: a != suite.get("size")))


def need(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Raises MissingDataError naming the columns that this figure reads and the frame lacks."""
    lacking = [c for c in columns if c not in frame.columns or not frame[c].notna().any()]
    if frame.empty:
        raise MissingDataError(f"no {what}")
    if lacking:
        raise MissingDataError(f"{what} without {', '.join(lacking)}")


def lr_column(trials: pd.DataFrame, chosen: str | None = None) -> str:
    """The column of the learning rate: the chosen one, else optimizer.lr, else the first that ends so."""
    if chosen:
        need(trials, [chosen], "trials")
        return chosen
    found = lr_columns(trials)
    if not found:
        raise MissingDataError("no trials with a learning rate")
    return found[0]


def estimator_of(claim: Mapping[str, Any]) -> dict[str, Any]:
    """A claim's estimator with its arguments; a bare name stands alone."""
    estimator = claim.get("estimator")
    return dict(estimator) if isinstance(estimator, Mapping) else {"name": str(estimator)}


def matching(rows: pd.DataFrame, where: Mapping[str, Any], what: str) -> pd.DataFrame:
    """Rows whose columns have these values; a list means any of them."""
    for column, wanted in where.items():
        need(rows, [column], what)
        rows = rows[rows[column].isin(wanted if isinstance(wanted, (list, tuple)) else [wanted])]
    return rows

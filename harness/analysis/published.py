"""Published numbers: reading ``suites/published/*.csv``, and what 'the paper says 0.52' may be compared with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator
from scipy import stats

from harness import sources
from harness.errors import ClaimError, unknown

TOLERANCE = math.log(1.15)
"""Difference of logarithms within which two values agree, fixed beforehand."""
Agreement = Literal["agrees", "differs", "cannot tell"]


class Published(BaseModel):
    """A published value with what is known of its error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float
    interval: tuple[float, float] | None = None
    """The paper's own 95 % interval."""
    rounding: float = 0.0
    """Half a unit of the last printed digit."""
    seed_sd: float = 0.0
    """Assumed sd of the value over seeds, relative."""
    alternatives: list[float] = []
    """The paper's own other answers to the same question; their spread counts."""
    csv: str | None = None
    """File in ``suites/published`` that holds the points."""
    source: str = ""
    """Table, figure or equation."""

    @model_validator(mode="after")
    def _ordered(self) -> Published:
        if self.interval and not self.interval[0] <= self.value <= self.interval[1]:
            raise ValueError(f"interval {list(self.interval)} does not contain the value {self.value:g}")
        return self

    def se_log(self) -> float:
        """Standard error of ln value: the paper's interval, else rounding / sqrt 3, seeds and alternatives."""
        if self.value <= 0:
            raise ClaimError(f"published value {self.value:g} is not positive: compared as logarithms it cannot be")
        if self.interval:
            return math.log(self.interval[1] / self.interval[0]) / (2 * 1.959964)
        spread = 0.0
        if self.alternatives:
            logs = [math.log(v) for v in [self.value, *self.alternatives]]
            centre = sum(logs) / len(logs)
            spread = math.sqrt(sum((x - centre) ** 2 for x in logs) / (len(logs) - 1))
        return math.sqrt((self.rounding / self.value / math.sqrt(3)) ** 2 + self.seed_sd**2 + spread**2)


def agreement(
    ln_ours: float, se_ours: float, df: float, published: Published, tolerance: float = TOLERANCE
) -> tuple[Agreement, tuple[float, float]]:
    """Ours against published by the interval of ln ours - ln published: (outcome, that interval).

    agrees: interval inside +-tolerance; differs: wholly outside; else cannot tell. An interval that merely
    contains the published value is no evidence if it is wide.
    """
    se_published = published.se_log()
    se = math.hypot(se_ours, se_published)
    # The published error is taken as known: Welch-Satterthwaite with infinite df on its side.
    joint = df * (se / se_ours) ** 4 if se_ours > 0 else math.inf
    half = float(stats.t.ppf(0.975, min(joint, 1e6))) * se
    delta = ln_ours - math.log(published.value)
    low, high = delta - half, delta + half
    if -tolerance <= low and high <= tolerance:
        return "agrees", (low, high)
    if low > tolerance or high < -tolerance:
        return "differs", (low, high)
    return "cannot tell", (low, high)


def folder() -> Path:
    """Where the published tables ship."""
    return sources.shipped("suites") / "published"


def read(name: str) -> pd.DataFrame:
    """A published table by file name; every row has a ``source``. Raises UnknownNameError or ClaimError."""
    stem = name.removesuffix(".csv")
    known = sorted(p.stem for p in folder().glob("*.csv"))
    if stem not in known:
        raise unknown("published table", stem, known, "suites/published")
    table = pd.read_csv(folder() / f"{stem}.csv", comment="#")
    if "source" not in table.columns or table["source"].isna().any():
        raise ClaimError(f"suites/published/{stem}.csv: every row needs a source")
    return table

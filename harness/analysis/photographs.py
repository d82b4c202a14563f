"""Codecs photograph by photograph: what tables of images hold, averaged over codebooks, and curves over rate.

The unit is the photograph: codecs are paired by it, and its codebooks (seeds) are averaged before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.cells import filtered
from harness.analysis.estimate import Part
from harness.analysis.evidence import Evidence, columns_needed

TABLE = "images"
"""The table in which the workload image_codec leaves a row a photograph."""
LEAST = 3
"""Photographs below which nothing is said of photographs."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A codec's points, the cheapest of each photograph first."""

    arm: str
    points: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Photograph -> (ln rate, quality), each (points,)."""
    natural: Mapping[str, bool]
    folds: Mapping[str, str]
    identities: Sequence[str]
    seeds: int
    """Codebooks that every photograph was encoded with at every point; averaged within a photograph."""

    def at(self, evidence: Evidence, log_rates: Mapping[str, float], rate: str) -> dict[str, float]:
        """Quality of each photograph at its rate, linear in ln rate between points; refused outside any curve."""
        outside, found = [], {}
        for image, wanted in log_rates.items():
            x, y = self.points[image]
            if len(x) < 2 or not x[0] <= wanted <= x[-1]:
                outside.append(
                    f"{image} at {np.exp(wanted):.3g} (measured from {np.exp(x[0]):.3g} to {np.exp(x[-1]):.3g})"
                )
            else:
                found[image] = float(np.interp(wanted, x, y))
        if outside:
            raise evidence.refuse(
                f"the curve of {self.arm!r} over {rate} does not reach {'; '.join(outside)}",
                "run the codec at a point beyond it, or compare at a rate inside both curves",
            )
        return found


def rows_of(
    evidence: Evidence, arm: str, columns: Sequence[str], where: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """The rows of an arm's completed trials, one a photograph and trial.

    ClaimError where there are none, where a value is missing, or where they are of several numerics classes.
    """
    trials = columns_needed(evidence, evidence.trials, ["arm", "role", "status", "identity"], "trials")
    mine = trials[
        (trials["arm"] == arm) & (trials["role"] == "evaluation") & (trials["status"] == "completed")
    ]
    mine = filtered(evidence, mine, where)
    if mine.empty:
        known = ", ".join(sorted(map(str, trials["arm"].unique())))
        raise evidence.refuse(
            f"arm {arm!r} has no completed trials" + (f" where {dict(where)}" if where else ""),
            f"run it, or name an arm and points that ran: {known}",
        )
    if "numerics_class" in mine.columns and mine["numerics_class"].nunique() > 1:
        raise evidence.refuse(f"arm {arm!r} ran in several numerics classes", "run it on one kind of machine")
    needed = ["table", "identity", "arm", "image", "natural", *columns]
    tables = columns_needed(evidence, evidence.tables, needed, "tables")
    rows = tables[(tables["table"] == TABLE) & (tables["arm"] == arm) & tables["identity"].isin(mine["identity"])]
    # A trial that several cells share stands in the table once for each.
    rows = filtered(evidence, rows, where).drop_duplicates(["identity", "image"])
    for column in columns:
        if rows[column].isna().any():
            lacking = str(rows["image"][rows[column].isna()].iloc[0])
            raise evidence.refuse(
                f"{column!r} of {lacking!r} is missing for arm {arm!r}", "name a column that every photograph has"
            )
    return rows


def curves(
    evidence: Evidence,
    arm: str,
    rate: str,
    quality: str,
    by: str,
    where: Mapping[str, Any] | None = None,
    natural: bool = False,
) -> Curves:
    """An arm's points over rate, photograph by photograph, means over seeds. ``natural``: natural ones alone."""
    rows = rows_of(evidence, arm, [rate, quality, by], where)
    if natural:
        rows = rows[rows["natural"].astype(bool)]
    points = {}
    for image, own in rows.groupby("image", sort=False):
        means = own.groupby(by, sort=False)[list(dict.fromkeys((rate, quality)))].mean().sort_values(rate)
        points[str(image)] = (np.log(means[rate].to_numpy(dtype=float)), means[quality].to_numpy(dtype=float))
    counts = {len(x) for x, _ in points.values()}
    if len(counts) > 1:
        raise evidence.refuse(
            f"the photographs of arm {arm!r} were encoded at {min(counts)} to {max(counts)} points",
            "run every fold at every point",
        )
    first = rows.drop_duplicates("image").set_index("image")
    fold = first["fold"] if "fold" in first.columns else pd.Series("", index=first.index)
    return Curves(
        arm=arm, points=points, natural={str(k): bool(v) for k, v in first["natural"].items()},
        folds={str(k): str(v) for k, v in fold.items()}, identities=rows["identity"].astype(str).unique().tolist(),
        seeds=int(rows.groupby(["image", by])["seed"].nunique().min()),
    )  # fmt: skip


def part_of(evidence: Evidence, differences: Mapping[str, float], what: str, label: str = "") -> Part:
    """Mean over photographs with its t interval. ClaimError for fewer than three, or without any scatter."""
    values = np.array(list(differences.values()))
    if len(values) < LEAST:
        raise evidence.refuse(f"{what} share {len(values)} photographs", f"encode {LEAST} or more with both")
    sd = float(values.std(ddof=1))
    if sd == 0:
        raise evidence.refuse(f"{what} differ alike on every photograph", "state the claim as an identity")
    return Part(value=float(values.mean()), se=sd / len(values) ** 0.5, df=len(values) - 1.0, label=label)


def breakdown(differences: Mapping[str, float], sides: Curves, label: str) -> list[dict[str, Any]]:
    """Rows for a reader: the mean over all photographs, each fold's, and the natural ones', with sd and number."""
    groups = {"all": list(differences)}
    for fold in sorted({*sides.folds.values()} - {""}):
        groups[f"fold {fold}"] = [i for i in differences if sides.folds[i] == fold]
    groups["natural"] = [i for i in differences if sides.natural[i]]
    rows = []
    for name, images in groups.items():
        values = np.array([differences[i] for i in images])
        if len(values):
            sd = float(values.std(ddof=1)) if len(values) > 1 else None
            rows.append(
                {"part": label, "photographs": name, "difference": float(values.mean()), "sd": sd, "n": len(values)}
            )
    return rows

"""The error of the finite held-out sample, from the losses of its blocks of documents (STATISTICS 1d, 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.means import validation_error
from harness.analysis.pairing import PairedArms


def block_table(metric: str) -> str:
    """The table in which a workload leaves a metric's blocks."""
    return f"{metric}_blocks"


LEAST_BLOCKS = 4
"""Blocks below which their scatter tells nothing."""


def block_error(evidence: Evidence, pairs: PairedArms, arm: str, baseline: str, metric: str, log: bool) -> float:
    """What the finite sample adds to arm minus baseline (``log``: to their ln ratio); 0 where no block was written.

    From the table ``<metric>_blocks`` (columns block, loss or value, tokens) of the trials compared: seeds are
    averaged block by block. Every cell and seed reads the same documents, so the error does not average out over
    them: root mean square over cells.
    """
    rows = _rows(evidence, metric, pairs.identities)
    errors = []
    for key in pairs.keys if len(rows) else ():
        sides = [_by_block(rows, seeds[key].identities) for seeds in (pairs.arm, pairs.baseline)]
        both = sides[0].join(sides[1]["value"].rename("baseline"), how="inner").dropna()
        if len(both) < LEAST_BLOCKS:
            continue
        a, b, tokens = (both[c].to_numpy(dtype=float) for c in ("value", "baseline", "tokens"))
        if log:
            # To first order ln(A / B) moves by dA / A - dB / B.
            a, b = a / np.average(a, weights=tokens), b / np.average(b, weights=tokens)
        errors.append(validation_error(a - b, tokens))
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0


def value_block_error(evidence: Evidence, cells: Sequence[Sequence[str]], metric: str) -> float:
    """What the finite sample adds to one arm's mean; ``cells``: identities of each cell. As in block_error."""
    rows = _rows(evidence, metric, [i for identities in cells for i in identities])
    errors = []
    for identities in cells if len(rows) else ():
        blocks = _by_block(rows, identities).dropna()
        if len(blocks) >= LEAST_BLOCKS:
            errors.append(validation_error(blocks["value"].to_numpy(float), blocks["tokens"].to_numpy(float)))
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0


def _rows(evidence: Evidence, metric: str, identities: Sequence[str]) -> pd.DataFrame:
    """Rows of the metric's blocks of these trials: identity, block, value, tokens; none where none was written."""
    table = evidence.tables
    if table is None or table.empty or "table" not in table.columns:
        return pd.DataFrame()
    rows = table[(table["table"] == block_table(metric)) & table["identity"].isin(identities)]
    if rows.empty:
        return pd.DataFrame()
    value = "loss" if "loss" in rows and rows["loss"].notna().any() else "value"
    columns_needed(evidence, rows, ["identity", "block", value, "tokens"], "tables")
    return rows[["identity", "block", value, "tokens"]].rename(columns={value: "value"})


def _by_block(rows: pd.DataFrame, identities: Sequence[str]) -> pd.DataFrame:
    """Mean over seeds, and tokens, by block."""
    return rows[rows["identity"].isin(identities)].groupby("block")[["value", "tokens"]].mean()

"""The ledger of claims: as a frame at full precision, and as a table that is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness import numbers
from harness.report import words
from harness.report.content import ShownCell, ShownTable
from harness.report.tables import sort_key


def frame(claims: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The ledger as a frame for CSV: every number at full precision."""
    rows = []
    for claim in claims:
        low, high = claim.get("ci95") or (math.nan, math.nan)
        rows.append(
            {
                "suite": claim.get("suite"),
                "id": claim.get("id"),
                "claim": claim.get("says"),
                "source": claim.get("source"),
                "kind": claim.get("kind"),
                "published": words.published_text(claim),
                "estimate": claim.get("estimate"),
                "low": low,
                "high": high,
                "unit": claim.get("unit"),
                "df": claim.get("df"),
                "p_holm": claim.get("p_holm"),
                "verdict": words.badge(claim).text,
                "scope": claim.get("scope"),
                "scale_factor": claim.get("scale_factor"),
                "minimum_detectable_effect": _value(claim.get("minimum_detectable_effect")),
                "num_sizes": claim.get("num_sizes"),
                "num_seeds": claim.get("num_seeds"),
                "num_trials": claim.get("num_trials"),
                "seed_sd": _value(claim.get("seed_sd")),
            }
        )
    return pd.DataFrame(rows)


def _value(value: Any) -> Any:
    return value.get("value") if isinstance(value, Mapping) else value


def table(
    claims: Sequence[Mapping[str, Any]], name: str = "ledger", title: str = "Ledger of claims"
) -> ShownTable:
    """The ledger as it is read: claim, source, published value, ours, verdict with its scope, scale."""
    columns = ("claim", "source", "published", "ours [95 %]", "verdict", "scale factor", "could see", "p (Holm)")
    rows = []
    for c in claims:
        unresolved = c.get("verdict") == "unresolved"
        rows.append(
            (
                ShownCell(str(c.get("says") or c.get("id"))),
                ShownCell(str(c.get("source") or numbers.MISSING)),
                ShownCell(words.published_text(c)),
                ShownCell(words.estimate_text(c), sort_key(c.get("estimate"))),
                ShownCell(words.badge(c).text),
                ShownCell(numbers.factor(c.get("scale_factor")), sort_key(c.get("scale_factor"))),
                ShownCell(words.effect_text(c) if unresolved else numbers.MISSING),
                ShownCell(numbers.p_value(c.get("p_holm")), sort_key(c.get("p_holm"))),
            )
        )
    return ShownTable(
        name, title, columns, (False, False, False, True, False, True, True, True), tuple(rows)
    )

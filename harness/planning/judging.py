"""A suite's claims judged on its rows: what the report shows, and the ledger that a design leaves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from harness.planning.suite import Suite
from harness.records.frames import curves_frame, probes_frame, tables_frame, trials_frame
from harness.records.record import Row
from harness.workload import workload_module

if TYPE_CHECKING:
    from harness.analysis.result import ClaimResult

LEDGER = ("id", "estimate", "ci95", "verdict")
"""What is kept of a claim when its design is superseded."""


def judge(suite: Suite, rows: Sequence[Row], registered: Collection[str]) -> list[ClaimResult]:
    """Every claim of the suite, answered from the rows that have a record; none where there is nothing.

    ``registered``: hashes of the entries under which a record may give a verdict.
    """
    from harness.analysis.claims import evaluate_claims, load_claims

    known = [row for row in rows if row.record is not None]
    if not known or not suite.claims:
        return []
    metrics = workload_module(suite.workload).METRICS
    trials = trials_frame(known)
    return evaluate_claims(
        load_claims(suite.claims, suite.file, metrics),
        trials,
        probes=probes_frame(known),
        curves=curves_frame(known),
        tables=tables_frame(known),
        profile=suite.profile,
        size_axis=next((a for a in suite.axes if a in trials and trials[a].notna().any()), None),
        metrics=metrics,
        registered=registered,
    )


def ledger_of(suite: Suite, rows: Sequence[Row], registered: Collection[str]) -> list[dict[str, Any]]:
    """Id, estimate, interval and verdict of each claim."""
    found = (result.as_dict() for result in judge(suite, rows, registered))
    return [{key: claim[key] for key in LEDGER} for claim in found]

"""Rows of a probe at the checkpoints that a claim is about, the same ones in every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analysis.evidence import Evidence, columns_needed
from harness.analysis.registry import Steps

RANK = "_rank"


@dataclass(frozen=True, kw_only=True)
class ProbeRows:
    """A probe's rows with a column ``checkpoint``, which is empty where there is only one."""

    rows: pd.DataFrame
    notes: list[str]


def probe_rows(
    evidence: Evidence,
    arms: Sequence[str],
    probe: str | None,
    value: str,
    where: Mapping[str, Any] | None,
    *,
    steps: Steps,
    skip_first: bool = False,
) -> ProbeRows:
    """A probe's rows for these arms' evaluation trials, filtered by column values, at the wanted checkpoints.

    ``steps``: last, the last checkpoint at which every trial has its values (an update that ends at a learning
    rate of 0 has no rank, so that the very last one may exist at some sizes only); or all such checkpoints.
    """
    rows = columns_needed(evidence, evidence.probes, ["identity", "arm", "seed", value], "probes")
    if probe is not None:
        columns_needed(evidence, rows, ["probe"], "probes")
        if not (rows["probe"] == probe).any():
            raise evidence.refuse(
                f"no probe {probe!r} was recorded",
                f"choose from {', '.join(sorted(map(str, rows['probe'].unique())))}",
            )
        rows = rows[rows["probe"] == probe]
    if "role" in rows.columns:
        rows = rows[rows["role"] == "evaluation"]
    rows = rows[rows["arm"].isin(arms)]
    if "step" in rows.columns:
        # Ranks before any filter: a quantity that begins late keeps the number of its checkpoint.
        rows = rows.assign(**{RANK: rows.groupby("identity")["step"].rank(method="dense").astype(int)})
    for column, wanted in (where or {}).items():
        columns_needed(evidence, rows if len(rows) else evidence.probes, [column], "probes")
        rows = rows[rows[column].isin(wanted if isinstance(wanted, (list, tuple)) else [wanted])]
    known = rows[rows[value].notna()]
    for arm in arms:
        if not (known["arm"] == arm).any():
            raise evidence.refuse(
                f"arm {arm!r} has no values of {value!r}" + (f" where {dict(where)}" if where else ""),
                "run it with this probe, or relax `where`",
            )
    if "step" not in rows.columns:
        return ProbeRows(rows=known.assign(checkpoint=""), notes=[])
    return _at(evidence, known, steps, skip_first)


def _at(evidence: Evidence, known: pd.DataFrame, steps: Steps, skip_first: bool) -> ProbeRows:
    """The rows of checkpoints that are whole in every trial.

    Checkpoints are told apart by their number in a run: the cadence is a share of training, so that numbers match
    over sizes where steps do not.
    """
    count = known.groupby(["identity", RANK]).size().unstack(RANK)
    whole = count.eq(count.max(axis=1), axis=0)
    everywhere = [int(r) for r in whole.columns if whole[r].all()]
    last = int(known[RANK].max())
    if not everywhere:
        raise evidence.refuse(
            "no checkpoint has its values in every trial", "probe more often, or narrow the trials with `where`"
        )
    notes = []
    if steps == "last":
        rank = everywhere[-1]
        name = "the last" if rank == last else "the last that every trial has"
        notes.append(f"checkpoint {rank}, {name}: {_steps_text(known, rank)}")
        return ProbeRows(rows=known[known[RANK] == rank].assign(checkpoint=""), notes=notes)
    wanted = [r for r in everywhere if r > 1] if skip_first else everywhere
    if not wanted:
        raise evidence.refuse("only one checkpoint was recorded", "probe more often, or use steps: last")
    if lost := sorted(set(map(int, whole.columns)) - set(everywhere)):
        notes.append(f"left out, as some trials lack their values: checkpoints {', '.join(map(str, lost))}")
    names = {r: f"checkpoint {r} ({_steps_text(known, r)})" for r in wanted}
    rows = known[known[RANK].isin(wanted)]
    return ProbeRows(rows=rows.assign(checkpoint=rows[RANK].map(names)), notes=notes)


def _steps_text(rows: pd.DataFrame, rank: int) -> str:
    steps = rows.loc[rows[RANK] == rank, "step"]
    low, high = int(steps.min()), int(steps.max())
    return f"step {low}" if low == high else f"steps {low} to {high}"

"""Two arms side by side: pairs by cell and seed within one numerics class, and what takes no part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.analysis.cells import Seeds, cell_name, evaluation
from harness.analysis.evidence import Evidence
from harness.analysis.means import CellMean, paired, unpaired


@dataclass
class PairedArms:
    """Two arms over the cells that both ran."""

    cells: list[CellMean]
    keys: list[Any]
    arm: dict[Any, Seeds]
    baseline: dict[Any, Seeds]
    common: dict[Any, tuple[np.ndarray, np.ndarray]]
    """Key -> (arm's values, baseline's values) that were compared; equal lengths where paired."""
    notes: list[str]
    identities: list[str]

    @property
    def num_seeds(self) -> int:
        """Fewest seeds in a cell."""
        return min(min(len(a), len(b)) for a, b in self.common.values())

    @property
    def num_trials(self) -> int:
        """Trials compared."""
        return sum(len(a) + len(b) for a, b in self.common.values())


def pair_arms(
    evidence: Evidence,
    arm: str,
    baseline: str,
    metric: str,
    by: Sequence[str] | None,
    where: Mapping[str, Any] | None = None,
    *,
    extra: Sequence[str] = (),
    log: bool = False,
    least: int = 2,
) -> PairedArms:
    """Pairs by (cell, seed) within one numerics class; unpaired (Welch) where the arms share no seed at all.

    ``log``: differences of logarithms. ``least``: seeds a cell must have. Cells with an optimum on the edge
    take no part, nor, in an equivalence, those in which both arms are one trial; seeds that only one arm has are
    dropped. All are named or counted in the notes.
    """
    axes = evidence.cell_axes(by)
    a, notes_a = evaluation(evidence, arm, metric, axes, where, extra)
    b, notes_b = evaluation(evidence, baseline, metric, axes, where, extra)
    notes = notes_a + [n for n in notes_b if n not in notes_a]
    out = PairedArms(cells=[], keys=[], arm=a, baseline=b, common={}, notes=notes, identities=[])
    dropped, edges, same = 0, [], []
    alone = [cell_name(k) for k in [*a, *b] if not (k in a and k in b)]
    for key in [k for k in a if k in b]:
        name = cell_name(key)
        if a[key].at_edge or b[key].at_edge:
            edges.append(name)
            continue
        u, v, shared = _values(evidence, arm, baseline, a[key], b[key], name)
        if evidence.equivalence and shared and len(u) == 0:
            same.append(name)
            continue
        if shared:
            dropped += len(a[key].values) + len(b[key].values) - 2 * len(u)
        else:
            notes.append(f"{name}: the arms share no seed; compared unpaired")
        if min(len(u), len(v)) < least:
            notes.append(f"{name}: {min(len(u), len(v))} common seeds, {least} needed; left out")
            continue
        if log:
            if (u <= 0).any() or (v <= 0).any():
                raise evidence.refuse(
                    f"{metric!r} is not positive everywhere", "use mean_difference instead of a ratio"
                )
            u, v = np.log(u), np.log(v)
        if least > 1:
            out.cells.append(paired(name, u - v) if shared else unpaired(name, u, v))
        out.keys.append(key)
        out.common[key] = (u, v)
        out.identities += a[key].identities + b[key].identities
    if alone:
        notes.append(f"cells that only one of {arm}, {baseline} ran: {', '.join(alone)}")
    if edges:
        notes.append(f"optimum on the edge of its range, left out: {', '.join(edges)}")
    if same:
        notes.append(
            f"both arms are one trial, which is no evidence, in {len(same)} cells, left out: {', '.join(same)}"
        )
    if dropped:
        notes.append(f"{dropped} trials without a partner of the same seed were dropped")
    _refuse_empty(evidence, out, arm, baseline, metric)
    return out


def _values(
    evidence: Evidence, arm: str, baseline: str, a: Seeds, b: Seeds, name: str
) -> tuple[np.ndarray, np.ndarray, bool]:
    """(arm's values, baseline's values, whether pairs): of common seeds, else all; in an equivalence without pairs
    of one trial with itself."""
    x, y = a.values, b.values
    shared = [k for k in x if k in y]
    if shared:
        if evidence.equivalence:
            shared = [k for k in shared if k not in a.trials or a.trials[k] != b.trials.get(k)]
        return np.array([x[k] for k in shared]), np.array([y[k] for k in shared]), True
    if {seed for seed, _ in x} & {seed for seed, _ in y}:
        raise evidence.refuse(
            f"cell {name!r}: arms {arm!r} and {baseline!r} ran in different numerics classes "
            f"({next(iter(x))[1]} and {next(iter(y))[1]})",
            "run both on one kind of machine",
        )
    return a.array(), b.array(), False


def _refuse_empty(evidence: Evidence, found: PairedArms, arm: str, baseline: str, metric: str) -> None:
    if not found.keys:
        raise evidence.refuse(
            f"no cell lets {arm!r} and {baseline!r} be compared ({'; '.join(found.notes) or 'no common cells'})",
            "run both arms in the same cells with at least two common seeds, and extend ranges that end in an edge",
        )
    if all(np.array_equal(u, v) for u, v in found.common.values()):
        raise evidence.refuse(
            f"{metric!r} of {arm!r} and {baseline!r} is identical in all {found.num_trials // 2} pairs",
            "they ran the same computation: check that the arms' configs differ and that the setting has an effect",
        )

"""The records of a suite as DataFrames: what estimators, figures and anyone's own analysis read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.outcome import Table
from harness.records.plans import load_rows
from harness.records.record import Row
from harness.records.reference import read_reference
from harness.records.store import Store

if TYPE_CHECKING:
    import pandas as pd


def trials_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """One row a planned trial that has a record.

    Columns: suite, profile, arm, role, seed, status, reason, identity, numerics_class, registration (hash of the
    entry that the suite ran it under; empty: none), selected, at_edge, diverged_step; one column an axis (its
    name), one a hyperparameter (its config path), one a metric (its name; NaN where not finite),
    ``seconds_<clock>``.
    """
    import pandas as pd

    out = []
    for row in rows:
        p, r = row.planned, row.record
        if r is None:
            continue
        out.append(
            {
                "suite": p.suite,
                "profile": p.profile,
                "arm": p.arm,
                "role": p.role,
                "seed": p.trial.seed,
                "status": r.status,
                "reason": r.reason,
                "identity": r.identity,
                "numerics_class": r.numerics_class,
                "registration": r.registrations.get(p.suite, ""),
                "selected": p.selected,
                "at_edge": p.at_edge,
                "diverged_step": r.diverged_step,
                **p.cell,
                **p.hyperparameters,
                **{f"seconds_{k}": v for k, v in r.seconds.items()},
                **{k: float("nan") if v is None else v for k, v in r.metrics.items()},
            }
        )
    return pd.DataFrame(out)


def curves_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Long frame of the training curves: identity, suite, arm, axes, role, seed, curve, step, value."""
    long = _Long()
    for row in rows:
        p, r = row.planned, row.record
        for name, curve in (r.curves if r else {}).items():
            labels = {
                "identity": r.identity if r else "",
                "suite": p.suite,
                "arm": p.arm,
                "role": p.role,
                "seed": p.trial.seed,
                **p.cell,
                **p.hyperparameters,
                "curve": name,
            }
            values = [float("nan") if v is None else v for v in curve.values]
            long.add(len(curve.steps), labels, {"step": curve.steps, "value": values})
    return long.frame()


def probes_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Long frame of what probes measured: its columns, and identity, suite, arm, axes, role, seed, probe.

    A column named as a label is renamed to ``<probe>_<column>``.
    """
    long = _Long()
    for row in rows:
        for name, table in (row.record.probes if row.record else {}).items():
            if not table.rows:
                continue
            columns = _columns(table)
            count, kept = len(table.rows), _singular_values(table)
            for key in dict.fromkeys(k for r in kept for k in r):
                columns[key] = [*columns.get(key, [_NAN] * count), *(r[key] for r in kept)]
            columns = {k: [*v, *[_NAN] * (count + len(kept) - len(v))] for k, v in columns.items()}
            long.add_table(columns, count + len(kept), row, "probe", name)
    return long.frame()


def tables_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Long frame of what workloads left beside their metrics, e.g. one row an image.

    Columns: identity, suite, arm, role, seed, table (its name), axes and hyperparameters, then the tables' own
    columns (NaN in rows of a table that lacks one); one named as a label is renamed to ``<table>_<column>``.
    A committed reference keeps the tables whose names stand in the suite's claims.
    """
    long = _Long()
    for row in rows:
        for name, table in (row.record.tables if row.record else {}).items():
            long.add_table(_columns(table), len(table.rows), row, "table", name)
    return long.frame()


_NAN = float("nan")


class _Long:
    """A long frame in the making: a list a column. One frame a record, concatenated, took half a report's time."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {}
        self._length = 0

    def add(self, count: int, labels: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]) -> None:
        """``count`` rows: the labels' values in each, a column's values in turn; NaN where others have more.

        Of no rows nothing is left: what diverged at once has no columns either.
        """
        if count == 0:
            return
        parts = {**{k: [v] * count for k, v in labels.items()}, **columns}
        for key in parts:
            if key not in self._columns:
                self._columns[key] = [_NAN] * self._length
        for key, values in self._columns.items():
            values.extend(parts[key] if key in parts else [_NAN] * count)
        self._length += count

    def add_table(self, columns: Mapping[str, list[Any]], count: int, row: Row, kind: str, name: str) -> None:
        """The rows of a record's table, its own columns first, under labels that say whose they are."""
        labels = _labels(row, kind, name)
        own = {f"{name}_{k}" if k in labels else k: v for k, v in columns.items()}
        self.add(count, {}, {**own, **{k: [v] * count for k, v in labels.items()}})

    def frame(self) -> pd.DataFrame:
        """What was added."""
        import pandas as pd

        return pd.DataFrame(self._columns)


def _columns(table: Table) -> dict[str, list[Any]]:
    return {name: [row[i] for row in table.rows] for i, name in enumerate(table.columns)}


def _labels(row: Row, kind: str, name: str) -> dict[str, Any]:
    p, r = row.planned, row.record
    assert r is not None
    return {
        "identity": r.identity,
        "suite": p.suite,
        "arm": p.arm,
        "role": p.role,
        "seed": p.trial.seed,
        kind: name,
        **{k: r.metrics[k] for k in ("model_width", "parameters") if k in r.metrics},
        **p.cell,
        **p.hyperparameters,
    }


def _singular_values(table: Table) -> list[dict[str, Any]]:
    """The spectra that a probe kept beside its functionals, as rows: one a singular value, ``index`` its rank."""
    return [
        {
            "step": int(step),
            "matrix": matrix,
            "kind": "weight",
            "functional": "singular_value",
            "index": i,
            "value": v,
        }
        for step, matrices in table.about.get("spectra", {}).items()
        for matrix, values in matrices.items()
        for i, v in enumerate(values)
    ]


def load_trials(
    suite: str, profile: str = "cpu", results: Path | str = "results", *, reference: str = ""
) -> pd.DataFrame:
    """The records of a suite as a DataFrame: the entry for anyone's own analysis (see trials_frame).

    ``reference`` names a committed reference (e.g. "cpu") to read instead of the runs.
    """
    store = Store(results)
    _, rows = read_reference(store, suite, reference) if reference else load_rows(store, suite, profile)
    return trials_frame(rows)

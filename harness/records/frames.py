"""The records of a suite as DataFrames: what estimators, figures and anyone's own analysis read."""

from __future__ import annotations

from collections.abc import Iterable
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
    import pandas as pd

    frames = []
    for row in rows:
        p, r = row.planned, row.record
        for name, curve in (r.curves if r else {}).items():
            if not curve.steps:
                continue  # diverged at once: an empty frame would make floats of all steps
            frames.append(
                pd.DataFrame(
                    {
                        "identity": r.identity if r else "",
                        "suite": p.suite,
                        "arm": p.arm,
                        "role": p.role,
                        "seed": p.trial.seed,
                        **{k: [v] * len(curve.steps) for k, v in {**p.cell, **p.hyperparameters}.items()},
                        "curve": name,
                        "step": curve.steps,
                        "value": [float("nan") if v is None else v for v in curve.values],
                    }
                )
            )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def probes_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Long frame of what probes measured: identity, suite, arm, axes, role, seed, probe, then its columns.

    A column named as a label is renamed to ``<probe>_<column>``.
    """
    import pandas as pd

    frames = []
    for row in rows:
        for name, table in (row.record.probes if row.record else {}).items():
            if not table.rows:
                continue
            frame = pd.DataFrame(table.rows, columns=table.columns)
            if kept := _singular_values(table):
                frame = pd.concat([frame, pd.DataFrame(kept)], ignore_index=True)
            frames.append(_labelled(frame, row, "probe", name))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def tables_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Long frame of what workloads left beside their metrics, e.g. one row an image.

    Columns: identity, suite, arm, role, seed, table (its name), axes and hyperparameters, then the tables' own
    columns (NaN in rows of a table that lacks one); one named as a label is renamed to ``<table>_<column>``.
    A committed reference keeps the tables whose names stand in the suite's claims.
    """
    import pandas as pd

    frames = [
        _labelled(pd.DataFrame(table.rows, columns=table.columns), row, "table", name)
        for row in rows
        for name, table in (row.record.tables if row.record else {}).items()
        if table.rows
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _labelled(frame: pd.DataFrame, row: Row, kind: str, name: str) -> pd.DataFrame:
    p, r = row.planned, row.record
    assert r is not None
    labels: dict[str, Any] = {
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
    clash = [c for c in labels if c in frame.columns]
    return frame.rename(columns={c: f"{name}_{c}" for c in clash}).assign(**labels)


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

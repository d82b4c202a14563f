"""From frames and claims to a report: figures, tables, report.json, report.md, index.html.

Input, one row or entry each, is plain pandas and dictionaries:

    trials      a planned trial: suite, profile, arm, role, seed, status, reason, identity, numerics_class,
                selected, at_edge, the suite's axes, hyperparameters by config path, metrics (NaN where diverged),
                diverged_step
    curves      a curve's point: identity, suite, arm, axes, seed, curve, step, value
    probes      a row of a probe: identity, arm, axes, seed, probe, and the probe's own columns
    suites      mapping or object: name, title, question, profile; optional workload (declares the metrics), axes,
                size (which of them), figures, scale (a line), base, tuning, budget_minutes, note, notes, sources,
                statistics (of probes, name -> what it is), recompute (commands), missing, changed_claims, history
                (superseded designs, oldest first: design, reason, ledger: claims), held_out (a line)
    claims      the fields of report.json (see CLAIM_FIELDS), and unit, published, notes, refused, confirmatory,
                command, models (and corpus, in words), tuning (how hyperparameters were chosen, in words),
                ran_at (parameters of our models: least, most), numerics_classes
    provenance  nested dictionary, shown as it is
    tables      name -> frame; a name that starts with a suite's name belongs to its section
    record_tables  a row of a table that a trial left: identity, suite, arm, role, seed, axes, table (its name), and
                the table's own columns
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.report import markdown, page, words
from harness.report.content import Report
from harness.report.export import as_json
from harness.report.sections import Writer


def build_report(
    folder: Path,
    *,
    suites: Sequence[Any],
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    probes: pd.DataFrame,
    claims: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame] | None = None,
    record_tables: pd.DataFrame | None = None,
) -> Path:
    """Write the report into ``folder``, replacing an earlier one, and return it. Same input, same bytes.

    Figures whose data is missing leave a note with the reason. Raises UnknownNameError for a figure kind that
    nothing draws or an option that it does not take, ValueError for an unknown verdict.
    """
    folder = Path(folder)
    for name in ("figures", "tables"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    # Judged claims first: the first screen is for verdicts.
    ranked = sorted(claims, key=lambda c: c.get("verdict") is None)
    left = pd.DataFrame() if record_tables is None else record_tables
    writer = Writer(folder, trials, curves, probes, ranked, dict(tables or {}), left)
    plain = [plain_suite(s) for s in suites]
    report = Report(
        profile=str(plain[0].get("profile", "")) if plain else "",
        claims=tuple(ranked),
        ledger=writer.ledger(ranked),
        sections=tuple(writer.section(s) for s in plain),
        tables=writer.other_tables(),
        provenance=provenance,
        summary=words.summary(ranked),
        error_rate=words.error_rate(ranked, sharing(trials)),
        colours=frozenset(writer.colours),
    )
    text = json.dumps(as_json(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for name, content in (
        ("report.json", text), ("report.md", markdown.render(report)), ("index.html", page.render(report))
    ):  # fmt: skip
        (folder / name).write_text(content, encoding="utf-8", newline="\n")
    return folder


def plain_suite(suite: Any) -> dict[str, Any]:
    """A suite as a dictionary, from a mapping, a pydantic model or any object with attributes."""
    if isinstance(suite, Mapping):
        return dict(suite)
    if hasattr(suite, "model_dump"):
        return dict(suite.model_dump())
    return dict(vars(suite))


def sharing(trials: pd.DataFrame) -> list[tuple[str, ...]]:
    """Groups of suites that have trials in common, each group once."""
    if not {"suite", "identity"} <= set(trials):
        return []
    groups = trials.groupby("identity", sort=False)["suite"].unique()
    return sorted({tuple(sorted(map(str, g))) for g in groups if len(g) > 1})

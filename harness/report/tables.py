"""Tables: one frame written as CSV (full precision), Markdown and LaTeX (digits that mean something)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness import numbers
from harness.report import labels, words
from harness.report.figures.common import at_best_lr, cell_means, ordered

METRICS = (
    "test_loss",
    "test_bits_per_byte",
    "test_accuracy",
    "psnr",
    "bits_per_pixel",
    "ms_ssim",
    "lpips",
    "max_violation",
)
"""Metrics that the result tables show where a suite has them and names none."""


@dataclass(frozen=True)
class Cell:
    """One value as it is printed, and as it sorts."""

    text: str
    sort: str = ""
    """Number with all its digits, or empty: sorts by text."""


@dataclass(frozen=True)
class Table:
    """A table as a reader sees it."""

    name: str
    """File stem."""
    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def shown(name: str, title: str, frame: pd.DataFrame, note: str = "") -> Table:
    """A frame as a table; a column pair ``x``, ``x ± `` (half-width) with ``n`` prints as one value."""
    columns, numeric, cells = [], [], []
    for column in frame.columns:
        text = str(column)
        if text.endswith(" ±"):
            continue
        values = frame[column]
        half = frame.get(f"{column} ±")
        columns.append(labels.label(column))
        numeric.append(bool(pd.api.types.is_numeric_dtype(values)) and not pd.api.types.is_bool_dtype(values))
        if half is not None:
            seeds = frame["seeds"] if "seeds" in frame else pd.Series(2, index=frame.index)
            cells.append(
                [
                    Cell(numbers.mean_with_interval(v, h, int(n)), _sort(v))
                    for v, h, n in zip(values, half, seeds, strict=True)
                ]
            )
        else:
            cells.append([Cell(_text(text, v), _sort(v)) for v in values])
    return Table(name, title, tuple(columns), tuple(numeric), tuple(zip(*cells, strict=True)), note)


def _text(column: str, value: Any) -> str:
    if column == "lr" or (column.endswith((".lr", "_lr")) and not column.startswith("log2")):
        return numbers.power_of_two(value) if numbers.is_finite(value) else numbers.MISSING
    if column in ("parameters", "tokens") or column.endswith("_parameters"):
        return numbers.count(value)
    if column.startswith("p_"):
        return numbers.p_value(value)
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    if isinstance(value, str):
        return value
    if hasattr(value, "item"):
        value = value.item()
    return numbers.plain(value)


def _sort(value: Any) -> str:
    return repr(float(value)) if numbers.is_finite(value) else ""


def write(table: Table, frame: pd.DataFrame, folder: Path) -> None:
    """Write ``<name>.csv``, ``.md`` and ``.tex``."""
    write_csv(frame, folder / f"{table.name}.csv")
    (folder / f"{table.name}.md").write_text(markdown(table), encoding="utf-8")
    (folder / f"{table.name}.tex").write_text(latex(table), encoding="utf-8")


def write_csv(frame: pd.DataFrame, file: Path) -> None:
    """CSV with ten significant digits and Unix line ends; NaN is an empty field."""
    frame.to_csv(file, index=False, float_format="%.10g", lineterminator="\n")


def markdown(table: Table) -> str:
    """A pipe table; pipes, line breaks and angle brackets of the cells are escaped."""
    lines = [
        "| " + " | ".join(markdown_escape(c) for c in table.columns) + " |",
        "|" + "|".join("---:" if n else "---" for n in table.numeric) + "|",
    ]
    lines += ["| " + " | ".join(markdown_escape(c.text) for c in row) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def markdown_escape(text: str) -> str:
    """Text that a Markdown cell or paragraph shows as it is."""
    for old, new in (
        ("\\", "\\\\"),
        ("|", "\\|"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("\n", " "),
        ("*", "\\*"),
        ("`", "\\`"),
    ):
        text = text.replace(old, new)
    return text


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "√": r"$\surd$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "✓": "",
    "✗": "",
    "²": "$^2$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
}
_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def latex_escape(text: str) -> str:
    """Text for LaTeX; characters beyond Latin-1 that it has no rule for become '?'."""
    out, i = [], 0
    while i < len(text):
        raised = 0
        while i + raised < len(text) and text[i + raised] in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹":
            raised += 1
        if raised:
            out.append(f"$^{{{text[i : i + raised].translate(_RAISED)}}}$")
            i += raised
            continue
        char = text[i]
        out.append(_LATEX.get(char, char if ord(char) < 256 else "?"))
        i += 1
    return "".join(out).strip()


def latex(table: Table) -> str:
    """A ``table`` environment that needs no package; long text columns wrap."""
    widest = [max([len(c), *(len(r[i].text) for r in table.rows)]) for i, c in enumerate(table.columns)]
    spec = "".join("r" if n else "p{4.5cm}" if w > 36 else "l" for n, w in zip(table.numeric, widest, strict=True))
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{latex_escape(table.title)}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\hline",
        " & ".join(latex_escape(c) for c in table.columns) + r" \\",
        r"\hline",
    ]
    lines += [" & ".join(latex_escape(c.text) for c in row) + r" \\" for row in table.rows]
    lines += [r"\hline", r"\end{tabular}"]
    if table.note:
        lines.append(rf"\par {latex_escape(table.note)}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


# --- the report's own tables -------------------------------------------------------------------------------


def ledger_frame(claims: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
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


def ledger(claims: Sequence[Mapping[str, Any]]) -> Table:
    """The ledger as it is read: claim, source, published value, ours, verdict with its scope, scale."""
    columns = ("claim", "source", "published", "ours [95 %]", "verdict", "scale factor", "could see", "p (Holm)")
    rows = []
    for c in claims:
        unresolved = c.get("verdict") == "unresolved"
        rows.append(
            (
                Cell(str(c.get("says") or c.get("id"))),
                Cell(str(c.get("source") or numbers.MISSING)),
                Cell(words.published_text(c)),
                Cell(words.estimate_text(c), _sort(c.get("estimate"))),
                Cell(words.badge(c).text),
                Cell(numbers.factor(c.get("scale_factor")), _sort(c.get("scale_factor"))),
                Cell(words.effect_text(c) if unresolved else numbers.MISSING),
                Cell(numbers.p_value(c.get("p_holm")), _sort(c.get("p_holm"))),
            )
        )
    return Table(
        "ledger", "Ledger of claims", columns, (False, False, False, True, False, True, True, True), tuple(rows)
    )


def results_frame(trials: pd.DataFrame, axes: Sequence[str], metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Evaluation trials by arm and cell: mean, half-width (column ``<metric> ±``), seeds, diverged share.

    A loss of a diverged trial counts as the trivial loss; other metrics of a cell with one have no mean.
    """
    done = trials[(trials["role"] == "evaluation") & trials["status"].isin(["completed", "diverged"])]
    wanted = [m for m in (metrics or METRICS) if m in done and done[m].notna().any()]
    if done.empty or not wanted:
        return pd.DataFrame()
    keys = ["arm", *[a for a in axes if a in done and done[a].notna().any()]]
    done = at_best_lr(done, keys, wanted[0]).copy()
    for metric in wanted:
        if metric.endswith("loss") and "trivial_loss" in done:
            lost = (done["status"] == "diverged") & done[metric].isna()
            done.loc[lost, metric] = done.loc[lost, "trivial_loss"]
    lr = [c for c in done if str(c).endswith(".lr") and done[c].notna().any()]
    out = (
        done.groupby(keys, sort=False, observed=True, dropna=False)
        .agg(
            seeds=("seed", "nunique"),
            diverged=("status", lambda s: int((s == "diverged").sum())),
        )
        .reset_index()
    )
    for metric in wanted:
        means = cell_means(done, keys, metric)
        out[metric], out[f"{metric} ±"] = means["mean"], means["half_width_95"]
    costs = [c for c in (*lr, "parameters", "tokens", "flops") if c in done and done[c].notna().any()]
    if costs:
        groups = done.groupby(keys, sort=False, observed=True, dropna=False)
        out = out.assign(**{str(c): groups[str(c)].mean().to_numpy() for c in costs})
    order = {k: {v: i for i, v in enumerate(ordered(done, k))} for k in keys[1:]}
    arms = {a: i for i, a in enumerate(dict.fromkeys(trials["arm"]))}
    out = out.sort_values([*keys[1:], "arm"], key=lambda s: s.map(order.get(str(s.name), arms)), kind="stable")
    return out.reset_index(drop=True)


def outcomes_frame(trials: pd.DataFrame) -> pd.DataFrame:
    """How many trials of each arm and role ended how; arms whose every trial completed included."""
    counts = trials.groupby(["arm", "role", "status"], sort=False, observed=True).size().unstack(fill_value=0)
    return counts.reset_index().rename_axis(columns=None) if not trials.empty else pd.DataFrame()


def failures_frame(trials: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """One row for each reason that trials did not complete, with how many and where."""
    bad = trials[trials["status"] != "completed"]
    if bad.empty:
        return pd.DataFrame()
    reason = bad["reason"] if "reason" in bad else pd.Series("", index=bad.index)
    bad = bad.assign(reason=reason.fillna("").astype(str).str.strip().str.split("\n").str[-1].str.slice(0, 200))
    keys = ["arm", *[a for a in axes if a in bad and bad[a].notna().any()], "role", "status", "reason"]
    out = bad.groupby(keys, sort=False, observed=True, dropna=False).agg(
        trials=("seed", "size"), **({"earliest_step": ("diverged_step", "min")} if "diverged_step" in bad else {})
    )
    return out.reset_index()

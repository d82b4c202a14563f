"""Tables: one frame, written as CSV (full precision), Markdown and LaTeX (digits that mean something)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness import numbers
from harness.report import latex
from harness.report.content import ShownCell, ShownTable
from harness.report.labels import Labels


def shown(
    name: str, title: str, frame: pd.DataFrame, note: str = "", labels: Labels | None = None
) -> ShownTable:
    """A frame as a table; a column pair ``x``, ``x ± `` (half-width) with ``n`` prints as one value."""
    labels = labels or Labels()
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
                    ShownCell(numbers.mean_with_interval(v, h, int(n)), sort_key(v))
                    for v, h, n in zip(values, half, seeds, strict=True)
                ]
            )
        else:
            cells.append([ShownCell(_text(text, v), sort_key(v)) for v in values])
    return ShownTable(name, title, tuple(columns), tuple(numeric), tuple(zip(*cells, strict=True)), note)


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


def sort_key(value: Any) -> str:
    """What a column sorts by: all digits of a number; empty where it sorts by text."""
    return repr(float(value)) if numbers.is_finite(value) else ""


def write(table: ShownTable, frame: pd.DataFrame, folder: Path) -> None:
    """Write ``<name>.csv``, ``.md`` and ``.tex``."""
    write_csv(frame, folder / f"{table.name}.csv")
    (folder / f"{table.name}.md").write_text(markdown(table), encoding="utf-8")
    (folder / f"{table.name}.tex").write_text(latex.render(table), encoding="utf-8")


def write_csv(frame: pd.DataFrame, file: Path) -> None:
    """CSV with ten significant digits and Unix line ends; NaN is an empty field."""
    frame.to_csv(file, index=False, float_format="%.10g", lineterminator="\n")


def markdown(table: ShownTable) -> str:
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

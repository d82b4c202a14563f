"""Anyone's results in a text table, read as the trials of a suite; every refusal names file, row, column and cure.

Columns: ``arm``; ``size`` or ``compute`` (both for a compute ratio over named sizes); ``seed``; ``loss``; and,
if trials diverged, ``diverged`` (0 or 1) with ``trivial_loss``, the loss of a model that has learned nothing.
Further columns become axes and may be named in the estimator's arguments (``lr`` is read as ``optimizer.lr``).
Commas, tabs or semicolons apart (then with decimal commas too); compressed (.gz, .bz2, .xz) or not.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import pandas as pd

from harness.errors import ClaimError
from harness.workload import Metric

NEEDED = ("arm", "seed", "loss")
SIZES = ("size", "compute", "width")
RENAMED = {"loss": "test_loss", "compute": "flops", "lr": "optimizer.lr"}
"""Short name in a file -> the column that records have."""
NUMBERS = ("loss", "compute", "seed", "trivial_loss")
METRICS = {
    "test_loss": Metric(label="loss", cap="trivial_loss"),
    "trivial_loss": Metric(label="trivial loss"),
    "flops": Metric(label="compute"),
}
"""What is known of the metrics of a file: not their unit."""
SEPARATORS = (",", "\t", ";")
OPENERS: Mapping[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
MISSING = ("", "na", "nan", "none", "null", "-", "n/a")
FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True, "no": False, "yes": True}


def read_results(path: Path | str, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The trials table that a file of results stands for.

    ``columns``: our name -> the file's, e.g. ``{"loss": "val/loss"}``. Raises ClaimError.
    """
    file = Path(path)
    table, decimal_comma = _text_table(file)
    table = _named(table, file, columns or {})
    _need_columns(table, file)
    if table.empty:
        raise ClaimError(f"{file}: no rows")
    _need_text(table, "arm", file)
    diverged = _flags(table, file)
    for column in NUMBERS:
        if column in table.columns:
            table[column] = _numbers(table, column, file, decimal_comma, diverged)
    table["seed"] = _whole(table, "seed", file)
    for column in table.columns.difference([*NUMBERS, "arm", "diverged"]):
        table[column] = _axis(table[column], decimal_comma)
    if not {"size", "width"} & set(table.columns):
        table["size"] = _sizes_from_compute(table, file)
    rows = table.index
    table = table.rename(columns=RENAMED).drop(columns=["diverged"], errors="ignore").reset_index(drop=True)
    table["status"] = ["diverged" if d else "completed" for d in diverged]
    table.loc[diverged.to_numpy(), "test_loss"] = float("nan")
    return table.assign(role="evaluation", numerics_class="", identity=[f"row {i}" for i in rows])


def _text_table(file: Path) -> tuple[pd.DataFrame, bool]:
    """All fields as text, indexed by line number; whether numbers may have decimal commas.

    Not pandas' reader: it would take an arm named NA for a missing one, .01 for a number and ``muon#2`` for a
    comment.
    """
    opener = OPENERS.get(file.suffix.lower(), open)
    try:
        with opener(file, "rt", encoding="utf-8-sig", newline="") as handle:
            lines = [(i, line) for i, line in enumerate(handle, start=1) if _holds(line)]
    except FileNotFoundError:
        raise ClaimError(f"{file}: no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise ClaimError(f"{file}: not a readable table of text (UTF-8): {error}") from None
    if not lines:
        raise ClaimError(f"{file}: not a readable CSV file: it is empty")
    separator = max(SEPARATORS, key=lambda s: lines[0][1].count(s))
    try:
        fields = [[f.strip() for f in row] for row in csv.reader((line for _, line in lines), delimiter=separator)]
    except csv.Error as error:
        raise ClaimError(f"{file}: not a readable CSV file: {error}") from None
    if len(fields) != len(lines):
        raise ClaimError(f"{file}: not a readable CSV file: a quoted field runs over several lines")
    header, numbers, rows = fields[0], [], []
    for (number, _), row in zip(lines[1:], fields[1:], strict=True):
        if all(f.lower() in MISSING for f in row):
            continue
        if len(row) > len(header) and any(row[len(header) :]):
            raise ClaimError(f"{file}: row {number}: {len(row)} fields under {len(header)} columns")
        numbers.append(number)
        rows.append((row + [""] * len(header))[: len(header)])
    return pd.DataFrame(rows, columns=header, index=numbers, dtype=object), separator == ";"


def _holds(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _named(table: pd.DataFrame, file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Columns by our names; a name given twice, or meant twice, is refused."""
    for ours, theirs in columns.items():
        if theirs not in table.columns:
            raise ClaimError(
                f"{file}: column.{ours}={theirs}: no such column; it has {', '.join(map(str, table.columns))}"
            )
    # A column of our name that is not meant makes room for the one that is.
    table = table.drop(columns=[o for o, t in columns.items() if o in table.columns and o != t])
    table = table.rename(columns={theirs: ours for ours, theirs in columns.items()})
    for name in map(str, table.columns):
        twice = list(table.columns).count(name) > 1
        if twice or RENAMED.get(name) in table.columns:
            other = name if twice else RENAMED[name]
            raise ClaimError(
                f"{file}: columns {name!r} and {other!r} both stand for {RENAMED.get(name, name)!r}; keep one, "
                f"or say which: column.{name}={other}"
            )
    # The records' own names are understood too.
    return table.rename(columns={theirs: ours for ours, theirs in RENAMED.items() if theirs in table.columns})


def _need_columns(table: pd.DataFrame, file: Path) -> None:
    missing = [c for c in NEEDED if c not in table.columns]
    if not set(SIZES) & set(table.columns):
        missing.append("size (or compute)")
    if missing:
        raise ClaimError(
            f"{file}: missing column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}; "
            "needed: arm, size or compute, seed, loss, and diverged where trials diverged; "
            f"another name is given as column.{missing[0].split()[0]}=NAME"
        )


def _need_text(table: pd.DataFrame, column: str, file: Path) -> None:
    empty = table[column] == ""
    if empty.any():
        raise ClaimError(f"{file}: row {_first(empty)}: {column} is empty")


def _flags(table: pd.DataFrame, file: Path) -> pd.Series:
    if "diverged" not in table.columns:
        return pd.Series(False, index=table.index)
    words = table["diverged"].str.lower()
    known = FLAGS | dict.fromkeys(MISSING, False)
    bad = ~words.isin(list(known))
    if bad.any():
        row = _first(bad)
        raise ClaimError(f"{file}: row {row}: diverged is {table['diverged'][row]!r}; write 0 or 1")
    return words.map(known).astype(bool)


def _first(bad: pd.Series) -> int:
    """The line of the first row that is so."""
    return int(str(bad.idxmax()))


def _floats(text: pd.Series, decimal_comma: bool) -> pd.Series:
    if decimal_comma:
        text = text.str.replace(",", ".", regex=False)
    return pd.to_numeric(text, errors="coerce").astype(float)


def _numbers(
    table: pd.DataFrame, column: str, file: Path, decimal_comma: bool, diverged: pd.Series
) -> pd.Series:
    text = table[column]
    values = _floats(text, decimal_comma)
    bad = ~values.abs().lt(float("inf"))
    if column == "trivial_loss":
        bad &= ~text.str.lower().isin(MISSING)
    if column == "loss":
        bad &= ~diverged
    if bad.any():
        row = _first(bad)
        cure = "mark diverged trials in a column 'diverged'" if column == "loss" else "write a number"
        raise ClaimError(f"{file}: row {row}: {column} is {text[row]!r}, not a finite number; {cure}")
    if column == "compute" and (values <= 0).any():
        raise ClaimError(f"{file}: row {_first(values <= 0)}: compute must be above 0")
    return values


def _whole(table: pd.DataFrame, column: str, file: Path) -> pd.Series:
    values = table[column]
    bad = values % 1 != 0
    if bad.any():
        row = _first(bad)
        raise ClaimError(f"{file}: row {row}: {column} is {values[row]:g}; write whole numbers")
    return values.astype(int)


def _axis(text: pd.Series, decimal_comma: bool) -> pd.Series:
    """Numbers where all fields are numbers, else text as it stands; a missing one is missing."""
    known = ~text.str.lower().isin(MISSING)
    values = _floats(text[known], decimal_comma)
    if known.any() and values.notna().all():
        return values.reindex(text.index)
    return text.where(known)


def _sizes_from_compute(table: pd.DataFrame, file: Path) -> pd.Series:
    """Sizes named by compute, where all arms ran the same amounts."""
    per_arm = {str(a): tuple(sorted(g["compute"].unique())) for a, g in table.groupby("arm")}
    if len(set(per_arm.values())) > 1:
        raise ClaimError(
            f"{file}: the arms ran different amounts of compute; add a column 'size' that matches them"
        )
    return table["compute"].map(lambda c: f"{c:g}")

"""Coordinate check: sizes of activations against width, and the slopes that a claim judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels
from harness.report.cells import lr_columns
from harness.report.figures.layout import Sheet
from harness.report.figures.probes import filter_of, rows_of
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import log2_axis, log_axis
from harness.report.frames import Frames, MissingDataError, estimator_of, matching, need
from harness.report.labels import listed


@kind("coordinate_check")
def coordinate_check(
    frames: Frames,
    *,
    claim: str | None = None,
    probe: str = "coordinate",
    where: dict[str, Any] | None = None,
    value: str | None = None,
    parts: list[str] | None = None,
    step: int | None = None,
    axis: str | None = None,
    arms: list[str] | None = None,
    label: str | None = None,
) -> Drawing:
    """Size of activations, or of their change, against width, log-log, one line a layer, arms side by side.

    ``claim``: the claim whose filter, parts and value it takes, so that its slopes are the claim's; ``where``:
    column -> value (default: statistic change); ``parts``: columns whose combinations are lines (default: layer and
    site); ``step``: default the last that every trial has.
    """
    said = estimator_of(frames.claim(claim)) if claim else {}
    probe, axis = said.get("probe") or probe, frames.axis(axis or said.get("axis"))
    what = f"rows of the probe {probe}"
    rows, chosen = rows_of(frames, probe), filter_of(frames, claim, where)
    if "statistic" in rows and rows["statistic"].notna().any():
        chosen.setdefault("statistic", "change")
    rows = matching(rows, chosen, what)
    value = value or said.get("value") or _first(rows, ("value", "rms", "size", "std"), probe)
    need(rows, [axis, value], what)
    rows = _comparable(_at_step(rows, value, step), axis, chosen)
    rows = rows[(rows[value] > 0) & rows[axis].map(numbers.is_finite)]
    if rows.empty:
        raise MissingDataError(f"no positive values of the probe {probe}")
    columns = _columns(rows, parts if parts is not None else said.get("parts"))
    rows = rows.assign(line=_lines(rows, columns), **{axis: rows[axis].astype(float)})
    data = _slopes(rows, value, axis)
    text = label or frames.labels.label(chosen.get("statistic", value))
    return _drawn(frames, data, axis, text, arms, chosen)


def _at_step(rows: pd.DataFrame, value: str, step: int | None) -> pd.DataFrame:
    """Rows of this step, else of the last one at which every trial has values."""
    if "step" not in rows:
        return rows
    if step is None:
        trials = rows[rows[value].notna()].groupby("step")["identity"].nunique()
        whole = trials[trials == rows["identity"].nunique()]
        step = int(whole.index.max()) if len(whole) else int(rows["step"].max())
    return rows[rows["step"] == step]


def _comparable(rows: pd.DataFrame, axis: str, where: Mapping[str, Any]) -> pd.DataFrame:
    """Rows at the learning rates that all of an arm's widths ran: sizes at different rates are no line."""
    for column in (c for c in lr_columns(rows) if c not in where):
        widths = rows.groupby("arm")[axis].transform("nunique")
        rows = rows[rows.groupby(["arm", column])[axis].transform("nunique") == widths]
        if rows.empty:
            raise MissingDataError(
                f"no arm ran one {labels.name(column)} at all values of {axis}: name a claim, or where"
            )
    return rows


def _columns(rows: pd.DataFrame, parts: Sequence[str] | str | None) -> list[str]:
    if parts is not None:
        return [parts] if isinstance(parts, str) else list(parts)
    usual = [c for c in ("layer", "site") if c in rows and rows[c].notna().any()]
    return usual or [c for c in ("module", "name", "matrix") if c in rows and rows[c].notna().any()][:1]


def _lines(rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Name of each row's line: ``attention 0`` inside a block, ``logits`` outside of blocks (layer -1)."""
    need(rows, columns, "probe rows")
    if set(columns) == {"layer", "site"}:
        return [
            f"{str(site).replace('_', ' ')} {int(depth)}"
            if numbers.is_finite(depth) and float(depth) >= 0
            else str(site).replace("_", " ")
            for site, depth in zip(rows["site"], rows["layer"], strict=True)
        ]
    if not columns:
        return ["all"] * len(rows)
    return [" ".join(map(str, key)) for key in rows[list(columns)].itertuples(index=False)]


def _slopes(rows: pd.DataFrame, value: str, axis: str) -> pd.DataFrame:
    """One row an arm, line and width: the mean over seeds of each run's mean, and the line's log-log slope."""
    seeds = rows.groupby(["arm", "line", axis, "seed"], sort=False, observed=True)[value].mean().reset_index()
    groups = seeds.groupby(["arm", "line", axis], sort=False, observed=True)[value]
    data = groups.agg(value="mean", n="count").reset_index()
    data["slope"] = np.nan
    for _, line in data.groupby(["arm", "line"], sort=False):
        if line[axis].nunique() >= 2:
            data.loc[line.index, "slope"] = np.polyfit(np.log2(line[axis]), np.log2(line["value"]), 1)[0]
    return data


def _drawn(
    frames: Frames,
    data: pd.DataFrame,
    axis: str,
    text: str,
    chosen: list[str] | None,
    where: Mapping[str, Any],
) -> Drawing:
    arms, lines = frames.arms(data, chosen), list(dict.fromkeys(data["line"]))
    sheet = Sheet(len(arms))
    said = []
    for ax, arm in zip(sheet.axes, arms, strict=True):
        for name, colour in zip(lines, frames.palette.ramp(arm, len(lines)), strict=True):
            line = data[(data["arm"] == arm) & (data["line"] == name)].sort_values(axis)
            ax.plot(line[axis], line["value"], color=colour, marker="o", markersize=3.5)
        span = _span(data.loc[data["arm"] == arm, "slope"].dropna())
        ax.set_title(f"{arm}: slopes {span}" if span else arm)
        ax.set_xlabel(labels.name(axis))
        log2_axis(ax, data[axis])
        ax.xaxis.set_major_formatter(lambda v, _: numbers.tick(v))
        log_axis(ax, data["value"], "y")
        if span:
            said.append(f"{arm}: {span}")
    sheet.left_text = text
    few = lines if len(lines) <= 8 else [lines[0], lines[len(lines) // 2], lines[-1]]
    greys = dict(zip(lines, frames.palette.ramp(None, len(lines)), strict=True))
    sheet.handles = [Line2D([], [], color=greys[n], label=n) for n in few]
    at = [
        f"{frames.labels.label(c)} {numbers.power_of_two(v)}"
        for c, v in where.items()
        if c in lr_columns(frames.trials) and numbers.is_finite(v)
    ]
    return Drawing(
        sheet,
        data[data["arm"].isin(arms)].reset_index(drop=True),
        f"Line chart of {text} against {labels.name(axis)}, both on log scales, one panel per arm "
        f"({listed(arms)}), one line per layer. Log-log slopes: {'; '.join(said) or 'too few widths'}.",
        "Flat lines mean a size that does not depend on width. Means over seeds"
        + (f", at {listed(at)} in every width." if at else "."),
    )


def _span(slopes: pd.Series) -> str:
    """``0.4`` or ``−0.1 to 0.9``."""
    ends = list(dict.fromkeys(numbers.fixed(s, 2) for s in (slopes.min(), slopes.max()))) if len(slopes) else []
    return " to ".join(ends)


def _first(rows: pd.DataFrame, names: tuple[str, ...], probe: str) -> str:
    found = [n for n in names if n in rows.columns and rows[n].notna().any()]
    if not found:
        raise MissingDataError(f"no rows of the probe {probe} with any of the columns {listed(names)}")
    return found[0]

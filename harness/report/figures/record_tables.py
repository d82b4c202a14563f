"""Figures of the tables that workloads leave beside their metrics: lines, points, and a heat map of one run."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels
from harness.report.cells import natural_key
from harness.report.figures.layout import Sheet
from harness.report.figures.probes import of_cell
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import log_axis
from harness.report.frames import Frames, MissingDataError, matching, need
from harness.report.labels import listed

Scale = Literal["linear", "log"]


def table_rows(
    frames: Frames,
    table: str,
    columns: list[str],
    *,
    where: dict[str, Any] | None = None,
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
) -> tuple[pd.DataFrame, str]:
    """(a table's rows of evaluation trials, what they were narrowed to in words, in brackets).

    ``cell``: a value of the axis, default the smallest.
    """
    rows = frames.record_tables
    if rows.empty or "table" not in rows or not (rows["table"] == table).any():
        raise MissingDataError(f"no trial left a table {table!r}")
    what = f"rows of the table {table}"
    rows = rows[(rows["table"] == table) & (rows["role"] == "evaluation")]
    need(rows, ["arm", "seed", *columns], what)
    rows = matching(rows, where or {}, what)
    words = [f"{labels.name(column)} {listed([v])}" for column, v in (where or {}).items()]
    rows = of_cell(frames, rows, what, words, axis, cell, last=False)
    return rows[rows["arm"].isin(frames.arms(rows, arms))], f" ({', '.join(words)})" if words else ""


def first_seed(rows: pd.DataFrame, columns: list[str]) -> tuple[pd.DataFrame, int]:
    """These columns of the first seed's rows, and which seed that is."""
    seed = int(rows["seed"].min())
    return rows[rows["seed"] == seed][["arm", *columns]].reset_index(drop=True), seed


@kind("table_lines")
def table_lines(
    frames: Frames,
    *,
    table: str,
    x: str,
    y: str,
    line: str,
    where: dict[str, Any] | None = None,
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
    x_scale: Scale = "linear",
    y_scale: Scale = "linear",
    caption: str | None = None,
) -> Drawing:
    """A column of a table over another, one line a value of a third, one panel an arm; means over seeds."""
    rows, words = table_rows(frames, table, [x, y, line], where=where, axis=axis, cell=cell, arms=arms)
    data = rows.groupby(["arm", line, x], observed=True)[y].agg(["mean", "min", "max"]).reset_index()
    data = data.rename(columns={"mean": y})
    shown, names = frames.arms(data, arms), sorted(data[line].unique(), key=natural_key)
    colours = dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))
    sheet, said = Sheet(len(shown)), []
    for ax, arm in zip(sheet.axes, shown, strict=True):
        for name in names:
            one = data[(data["arm"] == arm) & (data[line] == name)].sort_values(x)
            if one.empty:
                continue
            ax.plot(one[x], one[y], color=colours[name], marker="o", markersize=3)
            ax.fill_between(one[x], one["min"], one["max"], color=colours[name], alpha=0.15, linewidth=0)
            ends = [numbers.plain(one[y].iloc[i]) for i in (0, -1)]
            said.append(f"{arm}, {name}: from {ends[0]} to {ends[1]}")
        ax.set(title=arm, xlabel=frames.labels.label(x))
        _scales(ax, data, x, x_scale, y, y_scale)
    sheet.left_text = frames.labels.label(y)
    sheet.handles = [Line2D([], [], color=colours[n], marker="o", markersize=3, label=str(n)) for n in names]
    text = f"Line chart of {sheet.left_text} over {frames.labels.label(x)}, one line a {labels.name(line)}"
    return Drawing(
        sheet, data, f"{text}{words}. {'; '.join(said)}.",
        caption or "Means over seeds, the band from the lowest to the highest seed.",
    )  # fmt: skip


@kind("table_points")
def table_points(
    frames: Frames,
    *,
    table: str,
    x: str,
    y: str,
    of: str,
    size: str | None = None,
    where: dict[str, Any] | None = None,
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
    x_scale: Scale = "linear",
    y_scale: Scale = "linear",
    caption: str | None = None,
) -> Drawing:
    """Two columns of a table against each other, one point a value of a third (mean over seeds), one panel an arm.

    ``of``: the column whose values each get a point; ``size``: a column that the points' areas grow with.
    """
    columns = [c for c in dict.fromkeys((x, y, size)) if c and c != of]
    rows, words = table_rows(frames, table, [of, *columns], where=where, axis=axis, cell=cell, arms=arms)
    data = rows.groupby(["arm", of], observed=True)[columns].mean().reset_index()
    shown = frames.arms(data, arms)
    sheet, said = Sheet(len(shown)), []
    for ax, arm in zip(sheet.axes, shown, strict=True):
        one = data[data["arm"] == arm]
        areas = 12.0 if size is None else 4 + 120 * np.sqrt(one[size] / data[size].max())
        ax.scatter(one[x], one[y], s=areas, color=frames.palette.colour(arm), alpha=0.45, linewidth=0)
        ax.set(title=arm, xlabel=frames.labels.label(x))
        _scales(ax, data, x, x_scale, y, y_scale)
        rank = one[[x, y]].corr("spearman").iloc[0, 1]
        said.append(f"{arm}: {numbers.plural(len(one), 'point')}, rank correlation {numbers.plain(rank, 2)}")
    sheet.left_text = frames.labels.label(y)
    text = f"Scatter of {sheet.left_text} against {frames.labels.label(x)}, one point a {labels.name(of)}"
    more = f"; areas grow with {frames.labels.label(size)}" if size else ""
    return Drawing(
        sheet, data, f"{text}{words}. {'; '.join(said)}.",
        caption or f"Means over seeds{more}. {'. '.join(s[:1].upper() + s[1:] for s in said)}.",
    )  # fmt: skip


@kind("table_heatmap")
def table_heatmap(
    frames: Frames,
    *,
    table: str,
    row: str,
    column: str,
    value: str,
    where: dict[str, Any] | None = None,
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
    centre: float | None = None,
    caption: str | None = None,
) -> Drawing:
    """A table of one run, the first seed's, as a heat map, one panel an arm.

    Rows that seeds do not share (experts) have no mean over seeds. ``centre``: the value that is neither colour.
    """
    rows, words = table_rows(frames, table, [row, column, value], where=where, axis=axis, cell=cell, arms=arms)
    data, seed = first_seed(rows, [row, column, value])
    shown, names = frames.arms(data, arms), sorted(data[row].unique(), key=natural_key)
    low, high = float(data[value].min()), float(data[value].max())
    scale, colours = Normalize(low, high), "viridis"
    if centre is not None and low < centre < high:
        scale, colours = TwoSlopeNorm(centre, low, high), "vlag"
    sheet, said = Sheet(len(shown), size=(3.7, min(5.0, 1.3 + 0.12 * len(names)))), []
    for ax, arm in zip(sheet.axes, shown, strict=True):
        grid = data[data["arm"] == arm].pivot(index=row, columns=column, values=value).reindex(index=names)
        sns.heatmap(
            grid.set_axis([_name(n) for n in names], axis=0), ax=ax,
            norm=scale, cmap=colours, cbar=False, rasterized=True, xticklabels=False,
            yticklabels=max(1, len(names) // 8),
        )  # fmt: skip
        steps = list(grid.columns)
        spots = sorted({0, len(steps) // 2, len(steps) - 1})
        ax.set_xticks([s + 0.5 for s in spots], [_name(steps[s]) for s in spots], rotation=0)
        ax.tick_params(axis="y", rotation=0, labelsize=8)
        ax.grid(False)
        ax.set(title=arm, xlabel=frames.labels.label(column), ylabel="")
        said.append(f"{arm}: from {numbers.plain(grid.min().min())} to {numbers.plain(grid.max().max())}")
    text = frames.labels.label(value)
    sheet.left_text = frames.labels.label(row)
    sheet.add_bar(sheet.axes[0].collections[0], text)
    return Drawing(
        sheet, data,
        f"Heat map of {text}{words}: {len(names)} rows, one panel per arm. {'; '.join(said)}.",
        caption or f"Seed {seed} alone{words}; one scale for all panels.",
    )  # fmt: skip


def _scales(ax: Any, data: pd.DataFrame, x: str, x_scale: Scale, y: str, y_scale: Scale) -> None:
    for scale, which, column in ((x_scale, "x", x), (y_scale, "y", y)):
        if scale == "log":
            log_axis(ax, data[column], which)


def _name(value: Any) -> str:
    """A value as a tick: whole numbers without a point, though a long frame holds them as floats."""
    return numbers.tick(float(value)) if numbers.is_finite(value) else str(value)

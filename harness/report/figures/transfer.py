"""Figures over the learning rate and over width: sweeps, transfer, optima, coordinate check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels
from harness.report.colours import MUTED, PAPER
from harness.report.figures.common import (
    Drawing,
    Frames,
    MissingDataError,
    Sheet,
    arms_of,
    axis_of,
    axis_text,
    cell_means,
    estimator_name,
    kind,
    listed,
    log2_axis,
    log_axis,
    lr_column,
    need,
    ordered,
    with_role,
)


@kind("loss_against_lr")
def loss_against_lr(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """Loss against learning rate, one panel an arm, one line a size, minima marked."""
    return _lr_panels(frames, options, axis_of(frames, options))


@kind("lr_transfer")
def lr_transfer(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """Loss against log2 learning rate, one line a width, arms side by side: does the optimum move?"""
    return _lr_panels(frames, options, axis_of(frames, options, ("width", "size")))


def lr_cells(frames: Frames, options: Mapping[str, Any], axis: str) -> tuple[pd.DataFrame, str]:
    """(one row per arm, size and learning rate; metric): mean over seeds, divergences, whether it is the minimum.

    Reads tuning trials where there are any, else the evaluation trials of a sweep.
    """
    role = options.get("role") or ("tuning" if (frames.trials["role"] == "tuning").any() else "evaluation")
    trials = with_role(frames.trials, role)
    metric = str(options.get("metric") or ("validation_loss" if role == "tuning" else "test_loss"))
    column = lr_column(trials, options)
    need(trials, [metric, column, axis], f"{role} trials")
    trials = trials[
        trials[column].notna() & trials[axis].notna() & trials["arm"].isin(arms_of(frames, trials, options))
    ]
    cells = cell_means(trials, ["arm", axis, column], metric).rename(columns={column: "lr"})
    grid = cells.groupby("arm")["lr"].nunique()
    cells = cells[cells["arm"].isin(grid[grid >= 3].index)].sort_values(["arm", "lr"], kind="stable")
    if cells.empty:
        raise MissingDataError("fewer than three learning rates in every arm")
    best = cells.dropna(subset=["mean"]).groupby(["arm", axis], observed=True)["mean"].idxmin()
    cells["is_minimum"] = cells.index.isin(best)
    edges = cells.groupby(["arm", axis], observed=True)["lr"]
    cells["at_edge"] = cells["is_minimum"] & (
        (cells["lr"] == edges.transform("min")) | (cells["lr"] == edges.transform("max"))
    )
    return cells, metric


def _lr_panels(frames: Frames, options: Mapping[str, Any], axis: str) -> Drawing:
    cells, metric = lr_cells(frames, options, axis)
    arms = arms_of(frames, cells, options)
    values = ordered(frames.trials[frames.trials["arm"].isin(arms)], axis)
    values = [v for v in values if v in set(cells[axis])]
    sheet = Sheet(len(arms))
    for ax, arm in zip(sheet.axes, arms, strict=True):
        mine = cells[cells["arm"] == arm]
        for i, (value, colour) in enumerate(zip(values, frames.palette.ramp(arm, len(values)), strict=True)):
            line = mine[mine[axis] == value]
            ax.plot(line["lr"], line["mean"], color=colour, marker="o", markersize=3, zorder=2 + i / 100)
            lost = line[line["num_missing"] > 0]
            # Stacked below the top edge, so that sizes that diverge at one rate all show.
            if not lost.empty:
                (crosses,) = ax.plot(
                    lost["lr"],
                    np.full(len(lost), 0.965 - 0.045 * (i % 6)),
                    "x",
                    color=colour,
                    markersize=5,
                    markeredgewidth=1.5,
                    transform=ax.get_xaxis_transform(),
                )
                crosses.set_in_layout(False)
            low = line[line["is_minimum"]]
            ax.plot(
                low["lr"],
                low["mean"],
                "o",
                markersize=8,
                markerfacecolor=PAPER,
                markeredgecolor=colour,
                markeredgewidth=2,
                zorder=3 + i / 100,
            )
        ax.set_title(arm)
        ax.set_xlabel(labels.label("optimizer.lr"))
        log2_axis(ax, cells["lr"])
    _loss_limits(sheet.axes, cells, frames.trials)
    sheet.left_text = labels.label(metric)
    greys = frames.palette.ramp(None, len(values))
    handles = [
        Line2D([], [], color=g, marker="o", markersize=3, label=axis_text(axis, v))
        for v, g in zip(values, greys, strict=True)
    ]
    handles.append(
        Line2D(
            [],
            [],
            color=MUTED,
            marker="o",
            markersize=7,
            markerfacecolor=PAPER,
            markeredgewidth=2,
            linestyle="",
            label="minimum",
        )
    )
    if (cells["num_missing"] > 0).any():
        handles.append(
            Line2D([], [], color=MUTED, marker="x", linestyle="", markeredgewidth=1.5, label="a seed diverged")
        )
    sheet.handles = handles
    return Drawing(
        sheet,
        cells.reset_index(drop=True),
        _lr_alt(cells, arms, values, axis, metric),
        "Bare minima of the grid are drawn, never judged. Means over the seeds at each point; where a seed "
        "diverged there is a cross and no mean.",
    )


def _loss_limits(axes: list[Any], cells: pd.DataFrame, trials: pd.DataFrame) -> None:
    """Keeps the valleys readable: no loss far above the trivial one, none beyond thrice the usual range."""
    finite = cells["mean"].dropna()
    low, middle, high = finite.min(), finite.median(), finite.max()
    top = min(high, low + 4 * (middle - low)) if middle > low else high
    if "trivial_loss" in trials and trials["trivial_loss"].notna().any():
        top = min(top, float(trials["trivial_loss"].max()))
    pad = 0.06 * (top - low) or 0.1
    for ax in axes:
        ax.set_ylim(low - pad, top + 3 * pad)


def _lr_alt(cells: pd.DataFrame, arms: list[str], values: list[Any], axis: str, metric: str) -> str:
    parts = [
        f"Line chart of {labels.label(metric)} against learning rate from "
        f"{numbers.power_of_two(cells['lr'].min())} to {numbers.power_of_two(cells['lr'].max())}, one panel "
        f"per arm ({listed(arms)}), one line per {labels.name(axis)} ({listed(values)})."
    ]
    for arm in arms:
        low = cells[(cells["arm"] == arm) & cells["is_minimum"]].set_index(axis)
        places = [
            f"{numbers.power_of_two(low.loc[v, 'lr'])} at {axis_text(axis, v)}"
            + (" (edge of the grid)" if low.loc[v, "at_edge"] else "")
            for v in values
            if v in low.index
        ]
        lost = int((cells.loc[cells["arm"] == arm, "num_missing"]).sum())
        parts.append(
            f"{arm}: lowest at {listed(places)}." + (f" {numbers.plural(lost, 'trial')} diverged." if lost else "")
        )
    return " ".join(parts)


@kind("optimum_against_width")
def optimum_against_width(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """Optimal learning rate against width, log2 on both axes, with a fitted line per arm.

    Reads the optima that the analysis fitted (the tables of the claims on ``optimum_slope``, or a table
    ``optima`` with arm, the axis and ``log2_lr``); without them, the bare minima of the grid.
    """
    axis = axis_of(frames, options, ("width", "size"))
    fitted = frames.tables.get(str(options.get("table", "optima")), _fitted_optima(frames))
    if fitted is None or not {"arm", axis, "log2_lr"} <= set(fitted.columns):
        fitted = pd.DataFrame(columns=["arm", axis, "log2_lr"])
    parts = [fitted[["arm", axis, "log2_lr"]].dropna().assign(fitted=True)]
    try:
        cells, _ = lr_cells(frames, options, axis)
        low = cells[cells["is_minimum"] & ~cells["at_edge"] & ~cells["arm"].isin(fitted["arm"])]
        parts.append(low[["arm", axis]].assign(log2_lr=np.log2(low["lr"]), fitted=False))
    except MissingDataError:
        if parts[0].empty:
            raise
    data = pd.concat([p for p in parts if not p.empty] or parts[:1], ignore_index=True)
    data = data[data[axis].map(numbers.is_finite)].reset_index(drop=True)
    if data.empty:
        raise MissingDataError(f"no optimum inside the grid at a numeric {axis}")
    data[axis] = data[axis].astype(float)
    sheet = Sheet(1, size=(4.6, 3.2))
    ax = sheet.axes[0]
    said, handles = [], []
    for arm in arms_of(frames, data, options):
        line = data[data["arm"] == arm].sort_values(axis)
        colour, marker = frames.palette.colour(arm), frames.palette.marker(arm)
        ax.plot(line[axis], 2.0 ** line["log2_lr"], marker, color=colour, markersize=6)
        name = arm
        if line[axis].nunique() >= 2:
            slope, start = np.polyfit(np.log2(line[axis]), line["log2_lr"], 1)
            ends = np.array([line[axis].min(), line[axis].max()])
            ax.plot(ends, 2.0 ** (start + slope * np.log2(ends)), color=colour)
            name = f"{arm}: slope {numbers.fixed(slope, 1)}"
            data.loc[line.index, "slope"] = slope
        said.append(name)
        handles.append(Line2D([], [], color=colour, marker=marker, label=name))
    log2_axis(ax, data[axis])
    ax.xaxis.set_major_formatter(lambda v, _: numbers.tick(v))
    log2_axis(ax, 2.0 ** data["log2_lr"], "y")
    how = ["Slopes in octaves per octave; their intervals stand in the ledger."]
    for by, text in ((True, "Optima as fitted by the analysis"), (False, "Bare minima of the grid, never judged")):
        arms = [a for a in frames.palette.arms if a in set(data.loc[data["fitted"] == by, "arm"])]
        if arms:
            how.append(f"{text}: {listed(arms)}.")
    ax.set(xlabel=labels.name(axis))
    sheet.left_text = "optimal learning rate"
    sheet.handles = handles
    return Drawing(
        sheet,
        data,
        f"Scatter of the optimal learning rate against {labels.name(axis)}, both on log2 scales, with fitted "
        f"lines. {listed(said)}, in octaves of learning rate per octave of {labels.name(axis)}.",
        " ".join(how),
    )


def _fitted_optima(frames: Frames) -> pd.DataFrame | None:
    """Rows of the slope claims' tables with their arm; None if no claim fitted an optimum."""
    rows = [
        {"arm": claim["estimator"]["arm"], **row}
        for claim in frames.claims
        if estimator_name(claim) == "optimum_slope" and isinstance(claim["estimator"], Mapping)
        for row in claim.get("table") or []
    ]
    # Two claims on one arm fit the same optima.
    return pd.DataFrame(rows).drop_duplicates() if rows else None


@kind("coordinate_check")
def coordinate_check(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """Size of activations, or of their change, against width, log-log, one line a layer, arms side by side.

    Options: ``probe`` (default coordinate), ``where`` {column: value} (default: statistic change), ``value`` and
    ``layer`` (columns), ``step`` (default: the last).
    """
    axis = axis_of(frames, options, ("width", "size"))
    probe = str(options.get("probe", "coordinate"))
    rows = frames.probes
    rows = rows[rows["probe"] == probe] if "probe" in rows else rows.iloc[:0]
    where = dict(options.get("where", {}))
    if "statistic" in rows and rows["statistic"].notna().any():
        where.setdefault("statistic", "change")
    for column, wanted in where.items():
        need(rows, [column], f"rows of the probe {probe}")
        rows = rows[rows[column] == wanted]
    value = str(options.get("value") or _first(rows, ("value", "rms", "size", "std"), probe))
    layer = str(options.get("layer") or _first(rows, ("layer", "site", "module", "name", "matrix"), probe))
    if layer == "layer" and "site" in rows and rows["site"].notna().any():
        rows = rows.assign(
            layer=[_place(site, depth) for site, depth in zip(rows["site"], rows["layer"], strict=True)]
        )
    need(rows, [axis, layer, value], f"rows of the probe {probe}")
    if "step" in rows:
        rows = rows[rows["step"] == options.get("step", rows["step"].max())]
    rows = rows[(rows[value] > 0) & rows[axis].map(numbers.is_finite)]
    if rows.empty:
        raise MissingDataError(f"no positive values of the probe {probe}")
    data = (
        rows.assign(log2_value=np.log2(rows[value].astype(float)))
        .groupby(["arm", layer, axis], sort=False, observed=True)
        .agg(log2_value=("log2_value", "mean"), n=("log2_value", "count"))
        .reset_index()
    )
    data[axis] = data[axis].astype(float)
    data["slope"] = np.nan
    text = str(options.get("label") or labels.label(where.get("statistic", value)))
    arms, layers_ = arms_of(frames, data, options), list(dict.fromkeys(data[layer]))
    sheet = Sheet(len(arms))
    said = []
    for ax, arm in zip(sheet.axes, arms, strict=True):
        shades = frames.palette.ramp(arm, len(layers_))
        slopes: dict[str, float] = {}
        for name, colour in zip(layers_, shades, strict=True):
            line = data[(data["arm"] == arm) & (data[layer] == name)].sort_values(axis)
            if line.empty:
                continue
            ax.plot(line[axis], 2.0 ** line["log2_value"], color=colour, marker="o", markersize=3.5)
            if line[axis].nunique() >= 2:
                slopes[str(name)] = float(np.polyfit(np.log2(line[axis]), line["log2_value"], 1)[0])
                data.loc[line.index, "slope"] = slopes[str(name)]
        span = _span(slopes)
        ax.set_title(f"{arm}: slopes {span}" if span else arm)
        ax.set_xlabel(labels.name(axis))
        log2_axis(ax, data[axis])
        ax.xaxis.set_major_formatter(lambda v, _: numbers.tick(v))
        log_axis(ax, 2.0 ** data["log2_value"], "y")
        if span:
            said.append(f"{arm}: {span}")
    sheet.left_text = text
    few = layers_ if len(layers_) <= 8 else [layers_[0], layers_[len(layers_) // 2], layers_[-1]]
    greys = dict(zip(layers_, frames.palette.ramp(None, len(layers_)), strict=True))
    sheet.handles = [Line2D([], [], color=greys[n], label=str(n)) for n in few]
    return Drawing(
        sheet,
        data,
        f"Line chart of {text} against {labels.name(axis)}, both on log scales, one panel per arm "
        f"({listed(arms)}), one line per layer. Log-log slopes: {'; '.join(said) or 'too few widths'}.",
        "Flat lines mean a size that does not depend on width. Means over seeds of the log.",
    )


def _span(slopes: Mapping[str, float]) -> str:
    """``0.4`` or ``−0.1 to 0.9``."""
    ends = sorted({numbers.fixed(s, 1) for s in (min(slopes.values()), max(slopes.values()))}) if slopes else []
    return " to ".join(sorted(ends, key=lambda t: float(t.replace(numbers.MINUS, "-"))))


def _place(site: Any, depth: Any) -> str:
    """``attention 0`` inside a block, ``logits`` outside of blocks (layer -1)."""
    inside = numbers.is_finite(depth) and float(depth) >= 0
    return f"{str(site).replace('_', ' ')} {int(depth)}" if inside else str(site).replace("_", " ")


def _first(rows: pd.DataFrame, names: tuple[str, ...], probe: str) -> str:
    found = [n for n in names if n in rows.columns and rows[n].notna().any()]
    if not found:
        raise MissingDataError(f"no rows of the probe {probe} with any of the columns {listed(names)}")
    return found[0]

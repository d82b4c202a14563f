"""Figures over the learning rate: sweeps, transfer over a size, optima."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels
from harness.report.cells import cell_means, ordered
from harness.report.colours import MUTED, PAPER
from harness.report.figures.layout import Sheet
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import axis_text, log2_axis
from harness.report.frames import Frames, MissingDataError, estimator_of, lr_column, need
from harness.report.labels import listed


@kind("loss_against_lr")
def loss_against_lr(
    frames: Frames,
    *,
    metric: str | None = None,
    role: str | None = None,
    axis: str | None = None,
    arms: list[str] | None = None,
    lr: str | None = None,
) -> Drawing:
    """Loss against learning rate, one panel an arm, one line a size, minima marked.

    ``role``: default tuning where there are such trials, else evaluation; ``metric``: default what selection
    minimised in tuning trials, the workload's main metric in evaluation trials; ``lr``: the column.
    """
    return _lr_panels(frames, frames.axis(axis), metric=metric, role=role, arms=arms, lr=lr)


@kind("lr_transfer")
def lr_transfer(
    frames: Frames,
    *,
    metric: str | None = None,
    role: str | None = None,
    axis: str | None = None,
    arms: list[str] | None = None,
    lr: str | None = None,
) -> Drawing:
    """Loss against log2 learning rate, one line a width, arms side by side: does the optimum move?

    Options as of ``loss_against_lr``.
    """
    return _lr_panels(frames, frames.axis(axis), metric=metric, role=role, arms=arms, lr=lr)


def lr_cells(
    frames: Frames,
    axis: str,
    *,
    metric: str | None = None,
    role: str | None = None,
    arms: list[str] | None = None,
    lr: str | None = None,
) -> tuple[pd.DataFrame, str]:
    """(one row per arm, size and learning rate; metric): mean over seeds, divergences, whether it is the minimum.

    Reads tuning trials where there are any, else the evaluation trials of a sweep.
    """
    role = role or ("tuning" if (frames.trials["role"] == "tuning").any() else "evaluation")
    trials = frames.ended(role)
    metric = metric or (frames.selection if role == "tuning" else "") or frames.metric(None, trials)
    column = lr_column(trials, lr)
    need(trials, [metric, column, axis], f"{role} trials")
    trials = trials[
        trials[column].notna() & trials[axis].notna() & trials["arm"].isin(frames.arms(trials, arms))
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


def _lr_panels(frames: Frames, axis: str, **options: Any) -> Drawing:
    cells, metric = lr_cells(frames, axis, **options)
    arms = frames.arms(cells, options["arms"])
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
        ax.set_xlabel(frames.labels.label("optimizer.lr"))
        log2_axis(ax, cells["lr"])
    _loss_limits(sheet.axes, cells, frames.trials, frames.labels.cap(metric))
    sheet.left_text = frames.labels.label(metric)
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
        _lr_alt(cells, arms, values, axis, sheet.left_text),
        "Bare minima of the grid are drawn, never judged. Means over the seeds at each point; where a seed "
        "diverged there is a cross and no mean.",
    )


def _loss_limits(axes: list[Any], cells: pd.DataFrame, trials: pd.DataFrame, cap: str | None) -> None:
    """Keeps the valleys readable: no loss above what a diverged trial counts with, none far beyond the usual."""
    finite = cells["mean"].dropna()
    low, middle, high = finite.min(), finite.median(), finite.max()
    top = min(high, low + 4 * (middle - low)) if middle > low else high
    if cap in trials and trials[cap].notna().any():
        top = min(top, float(trials[cap].max()))
    pad = 0.06 * (top - low) or 0.1
    for ax in axes:
        ax.set_ylim(low - pad, top + 3 * pad)


def _lr_alt(cells: pd.DataFrame, arms: list[str], values: list[Any], axis: str, text: str) -> str:
    parts = [
        f"Line chart of {text} against learning rate from "
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
def optimum_against_width(
    frames: Frames,
    *,
    axis: str | None = None,
    arms: list[str] | None = None,
    table: str = "optima",
    metric: str | None = None,
    role: str | None = None,
    lr: str | None = None,
) -> Drawing:
    """Optimal learning rate against width, log2 on both axes, with a fitted line per arm.

    Reads the optima that the analysis fitted (the tables of the claims on ``optimum_slope``, or the suite's table
    of the name ``table`` with arm, the axis and ``log2_lr``); without them, the bare minima of the grid, for which
    the options are those of ``loss_against_lr``.
    """
    axis = frames.axis(axis)
    fitted = frames.tables.get(table, _fitted_optima(frames))
    if fitted is None or not {"arm", axis, "log2_lr"} <= set(fitted.columns):
        fitted = pd.DataFrame(columns=["arm", axis, "log2_lr"])
    parts = [fitted[["arm", axis, "log2_lr"]].dropna().assign(fitted=True)]
    try:
        cells, _ = lr_cells(frames, axis, metric=metric, role=role, arms=arms, lr=lr)
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
    for arm in frames.arms(data, arms):
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
        of = [a for a in frames.palette.arms if a in set(data.loc[data["fitted"] == by, "arm"])]
        if of:
            how.append(f"{text}: {listed(of)}.")
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
        {"arm": estimator["arm"], **row}
        for claim in frames.claims
        if (estimator := estimator_of(claim))["name"] == "optimum_slope" and "arm" in estimator
        for row in claim.get("table") or []
    ]
    # Two claims on one arm fit the same optima.
    return pd.DataFrame(rows).drop_duplicates() if rows else None

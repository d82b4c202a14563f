"""Figures over cost and over arms: mean and 95 % t interval of each cell, seeds as faint dots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels, words
from harness.report.cells import at_best_lr, cell_means, ordered
from harness.report.colours import MUTED
from harness.report.figures.layout import Sheet
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import axis_text, log2_axis, log_axis
from harness.report.frames import Frames, MissingDataError, estimator_of, need
from harness.report.labels import listed

Scale = Literal["linear", "log"]
INTERVAL = "Means over fresh seeds with 95 % t intervals; faint dots are single seeds."
REFUSED = " A cell in which a seed diverged has no mean."


@kind("loss_against_flops")
def loss_against_flops(
    frames: Frames,
    *,
    metric: str | None = None,
    axis: str | None = None,
    arms: list[str] | None = None,
    claim: str | None = None,
) -> Drawing:
    """Loss against training FLOPs, log-log, one line an arm, one point a size.

    ``metric``: default the workload's main one; ``claim``: whose sentence stands below, default the judged ratios
    of compute.
    """
    drawing = metric_against_metric(
        frames, x="flops", y=frames.metric(metric), x_scale="log", y_scale="log", axis=axis, arms=arms
    )
    said = [frames.claim(claim)] if claim else [c for c in frames.claims if _is_ratio(c)]
    caption = " ".join([*(words.sentence(c) for c in said), drawing.caption])
    return Drawing(drawing.sheet, drawing.data, drawing.alt, caption)


def _is_ratio(claim: Mapping[str, Any]) -> bool:
    return bool(claim.get("verdict")) and estimator_of(claim)["name"] == "compute_ratio"


@kind("metric_against_metric")
def metric_against_metric(
    frames: Frames,
    *,
    x: str,
    y: str,
    x_scale: Scale = "linear",
    y_scale: Scale = "linear",
    axis: str | None = None,
    arms: list[str] | None = None,
    role: str = "evaluation",
    caption: str | None = None,
) -> Drawing:
    """One metric against another, one line an arm, one point a cell of the axis."""
    axis = frames.axis(axis)
    trials = frames.ended(role)
    need(trials, [x, y, axis], f"{role} trials")
    arms = frames.arms(trials, arms)
    trials = at_best_lr(trials[trials["arm"].isin(arms) & trials[axis].notna()], ["arm", axis], y)
    means = cell_means(trials, ["arm", axis], y)
    data = means.merge(trials.groupby(["arm", axis], observed=True)[x].mean().reset_index(), on=["arm", axis])
    data = data.rename(columns={"mean": y})
    label = frames.labels.label
    if not data[y].notna().any():
        raise MissingDataError(f"no cell with {label(y)} in all its seeds")
    values = ordered(trials, axis)
    sheet = Sheet(1, size=(5.4, 3.5))
    ax = sheet.axes[0]
    handles, said = [], []
    for arm in arms:
        colour, marker = frames.palette.colour(arm), frames.palette.marker(arm)
        seeds = trials[trials["arm"] == arm]
        ax.plot(seeds[x], seeds[y], marker, color=colour, alpha=0.3, markersize=3, markeredgewidth=0)
        line = data[(data["arm"] == arm) & data[y].notna()].sort_values(x)
        if line.empty:
            said.append(f"{arm}: no cell without divergence")
            continue
        ax.errorbar(
            line[x],
            line[y],
            yerr=line["half_width_95"],
            color=colour,
            marker=marker,
            capsize=2.5,
            elinewidth=1.1,
            markersize=5.5,
        )
        handles.append(Line2D([], [], color=colour, marker=marker, label=arm))
        ends = [line.iloc[0], line.iloc[-1]]
        said.append(
            f"{arm}: from {_point(ends[0], y)} at {axis_text(axis, ends[0][axis])} to {_point(ends[1], y)} at "
            f"{axis_text(axis, ends[1][axis])}"
        )
    for scale, name, column in ((x_scale, "x", x), (y_scale, "y", y)):
        if scale == "log":
            log_axis(ax, pd.concat([data[column], trials[column]]).dropna(), name)
    _name_points(ax, data[data["arm"] == (arms[0])], x, y, axis)
    ax.set(xlabel=label(x))
    sheet.left_text = label(y)
    sheet.handles = handles
    lost = int(data["num_missing"].sum())
    return Drawing(
        sheet,
        data,
        f"Line chart of {label(y)} against {label(x)} for {listed(arms)}, one point per "
        f"{labels.name(axis)} ({listed(values)}). {'; '.join(said)}."
        + (f" {numbers.plural(lost, 'trial')} diverged." if lost else ""),
        caption or INTERVAL + (REFUSED if lost else ""),
    )


def _point(row: pd.Series, column: str) -> str:
    return numbers.mean_with_interval(row[column], row["half_width_95"], int(row["n"]))


def _name_points(ax: Any, line: pd.DataFrame, x: str, y: str, axis: str) -> None:
    """Writes each named size over the first arm's points."""
    if len(line) > 10 or line[axis].map(numbers.is_finite).any():
        return
    for _, row in line.dropna(subset=[y]).iterrows():
        ax.annotate(
            str(row[axis]), (row[x], row[y]), xytext=(4, 6), textcoords="offset points", fontsize=8, color=MUTED
        )


@kind("metric_against_axis")
def metric_against_axis(
    frames: Frames,
    *,
    metric: str | None = None,
    axis: str | None = None,
    arms: list[str] | None = None,
    role: str = "evaluation",
    y_scale: Scale = "linear",
    caption: str | None = None,
) -> Drawing:
    """A metric against an axis of the suite, one line an arm; by default the workload's main metric."""
    axis = frames.axis(axis)
    trials = frames.ended(role)
    metric = frames.metric(metric, trials)
    need(trials, [metric, axis], f"{role} trials")
    arms = frames.arms(trials, arms)
    trials = at_best_lr(trials[trials["arm"].isin(arms) & trials[axis].notna()], ["arm", axis], metric)
    label = frames.labels.label
    values = ordered(trials, axis)
    numeric = all(numbers.is_finite(v) and v > 0 for v in values)
    place = {v: float(v) if numeric else i for i, v in enumerate(values)}
    data = cell_means(trials, ["arm", axis], metric).rename(columns={"mean": metric})
    sheet = Sheet(1, size=(5.0, 3.3))
    ax = sheet.axes[0]
    handles, said = [], []
    for arm in arms:
        colour, marker = frames.palette.colour(arm), frames.palette.marker(arm)
        seeds = trials[trials["arm"] == arm]
        ax.plot(
            seeds[axis].map(place), seeds[metric], marker, color=colour, alpha=0.3, markersize=3, markeredgewidth=0
        )
        line = data[(data["arm"] == arm) & data[metric].notna()]
        line = line.sort_values(axis, key=lambda s: s.map(place))
        ax.errorbar(
            line[axis].map(place),
            line[metric],
            yerr=line["half_width_95"],
            color=colour,
            marker=marker,
            capsize=2.5,
            elinewidth=1.1,
        )
        handles.append(Line2D([], [], color=colour, marker=marker, label=arm))
        said.append(
            f"{arm}: " + (listed(f"{_point(r, metric)} at {axis_text(axis, r[axis])}" for _, r in line.iterrows()))
        )
    if numeric and max(place.values()) / min(place.values()) > 3:
        log2_axis(ax, place.values())
        ax.xaxis.set_major_formatter(lambda v, _: numbers.tick(v))
    elif not numeric:
        ax.set_xticks(list(place.values()), [str(v) for v in values])
    if y_scale == "log":
        log_axis(ax, data[metric].dropna(), "y")
    ax.set(xlabel=labels.name(axis))
    sheet.left_text = label(metric)
    sheet.handles = handles
    lost = int(data["num_missing"].sum())
    return Drawing(
        sheet,
        data,
        f"Line chart of {label(metric)} against {labels.name(axis)}. {'; '.join(said)}.",
        caption or INTERVAL + (REFUSED if lost else ""),
    )


@kind("metric_by_arm")
def metric_by_arm(
    frames: Frames,
    *,
    metric: str | None = None,
    axis: str | None = None,
    arms: list[str] | None = None,
    role: str = "evaluation",
    caption: str | None = None,
) -> Drawing:
    """A metric for every arm, one row an arm, one panel a value of the axis where there is one."""
    trials = frames.ended(role)
    metric = frames.metric(metric, trials)
    need(trials, [metric], f"{role} trials")
    arms = frames.arms(trials, arms)
    try:
        axis = frames.axis(axis)
    except MissingDataError:
        axis = None
    label = frames.labels.label
    trials = trials[trials["arm"].isin(arms)]
    cell = ["arm", axis] if axis else ["arm"]
    trials = at_best_lr(trials, cell, metric)
    values = ordered(trials, axis)[-3:] if axis else [None]
    data = cell_means(trials, cell, metric).rename(columns={"mean": metric})
    sheet = Sheet(len(values), size=(3.7, 0.9 + 0.34 * len(arms)))
    said = []
    for ax, value in zip(sheet.axes, values, strict=True):
        for row, arm in enumerate(arms):
            colour, marker = frames.palette.colour(arm), frames.palette.marker(arm)
            seeds, mean = (
                f[(f["arm"] == arm) & (True if axis is None else f[axis] == value)] for f in (trials, data)
            )
            ax.plot(
                seeds[metric],
                np.full(len(seeds), row),
                marker,
                color=colour,
                alpha=0.3,
                markersize=3.5,
                markeredgewidth=0,
            )
            ax.errorbar(
                mean[metric],
                np.full(len(mean), row),
                xerr=mean["half_width_95"],
                color=colour,
                marker=marker,
                capsize=2.5,
                elinewidth=1.3,
                markersize=6,
            )
            for _, r in mean.iterrows():
                where = f" at {axis_text(axis, value)}" if axis else ""
                said.append(
                    f"{arm}{where}: "
                    + (
                        _point(r, metric)
                        if numbers.is_finite(r[metric])
                        else f"no mean, {numbers.plural(int(r['num_missing']), 'seed')} diverged"
                    )
                )
        ax.set_yticks(range(len(arms)), arms)
        ax.set_ylim(len(arms) - 0.5, -0.5)
        ax.set_xlabel(label(metric))
        ax.xaxis.set_major_locator(ticker.MaxNLocator(4))
        if axis:
            ax.set_title(axis_text(axis, value))
    return Drawing(
        sheet,
        data,
        f"Dot chart of {label(metric)} by arm. {'; '.join(said)}.",
        caption or INTERVAL,
    )

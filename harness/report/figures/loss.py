"""Figures over cost and over arms: mean and 95 % t interval of each cell, seeds as faint dots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels, words
from harness.report.colours import MUTED
from harness.report.figures.common import (
    Drawing,
    Frames,
    MissingDataError,
    Sheet,
    arms_of,
    at_best_lr,
    axis_of,
    axis_text,
    cell_means,
    estimator_name,
    kind,
    listed,
    log2_axis,
    log_axis,
    need,
    ordered,
    with_role,
)

INTERVAL = "Means over fresh seeds with 95 % t intervals; faint dots are single seeds."
REFUSED = " A cell in which a seed diverged has no mean."


@kind("loss_against_flops")
def loss_against_flops(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """Loss against training FLOPs, log-log, one line an arm, one point a size."""
    drawing = metric_against_metric(
        frames, {"x": "flops", "y": "test_loss", "x_scale": "log", "y_scale": "log", **options}
    )
    wanted = options.get("claim")
    said = [words.sentence(c) for c in frames.claims if (c.get("id") == wanted if wanted else _is_ratio(c))]
    return Drawing(drawing.sheet, drawing.data, drawing.alt, " ".join([*said, drawing.caption]))


def _is_ratio(claim: Mapping[str, Any]) -> bool:
    return bool(claim.get("verdict")) and estimator_name(claim) == "compute_ratio"


@kind("metric_against_metric")
def metric_against_metric(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """One metric against another, one line an arm, one point a cell of the axis.

    Options: ``x``, ``y`` (columns), ``x_scale``, ``y_scale`` (log or linear), ``axis``, ``arms``, ``caption``.
    """
    if "x" not in options or "y" not in options:
        raise MissingDataError("metric_against_metric needs the options x and y")
    x, y = str(options["x"]), str(options["y"])
    axis = axis_of(frames, options)
    trials = with_role(frames.trials, str(options.get("role", "evaluation")))
    need(trials, [x, y, axis], "evaluation trials")
    arms = arms_of(frames, trials, options)
    trials = at_best_lr(trials[trials["arm"].isin(arms) & trials[axis].notna()], ["arm", axis], y)
    means = cell_means(trials, ["arm", axis], y)
    data = means.merge(trials.groupby(["arm", axis], observed=True)[x].mean().reset_index(), on=["arm", axis])
    data = data.rename(columns={"mean": y})
    if not data[y].notna().any():
        raise MissingDataError(f"no cell with {labels.label(y)} in all its seeds")
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
    for scale, name, column in ((options.get("x_scale"), "x", x), (options.get("y_scale"), "y", y)):
        if scale == "log":
            log_axis(ax, pd.concat([data[column], trials[column]]).dropna(), name)
    _name_points(ax, data[data["arm"] == (arms[0])], x, y, axis)
    ax.set(xlabel=labels.label(x))
    sheet.left_text = labels.label(y)
    sheet.handles = handles
    lost = int(data["num_missing"].sum())
    return Drawing(
        sheet,
        data,
        f"Line chart of {labels.label(y)} against {labels.label(x)} for {listed(arms)}, one point per "
        f"{labels.name(axis)} ({listed(values)}). {'; '.join(said)}."
        + (f" {numbers.plural(lost, 'trial')} diverged." if lost else ""),
        str(options.get("caption") or INTERVAL + (REFUSED if lost else "")),
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
def metric_against_axis(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """A metric against an axis of the suite, one line an arm.

    Options: ``metric`` (default test_loss), ``axis``, ``arms``, ``y_scale``, ``caption``.
    """
    metric = str(options.get("metric", "test_loss"))
    axis = axis_of(frames, options)
    trials = with_role(frames.trials, str(options.get("role", "evaluation")))
    need(trials, [metric, axis], "evaluation trials")
    arms = arms_of(frames, trials, options)
    trials = at_best_lr(trials[trials["arm"].isin(arms) & trials[axis].notna()], ["arm", axis], metric)
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
    if options.get("y_scale") == "log":
        log_axis(ax, data[metric].dropna(), "y")
    ax.set(xlabel=labels.name(axis))
    sheet.left_text = labels.label(metric)
    sheet.handles = handles
    lost = int(data["num_missing"].sum())
    return Drawing(
        sheet,
        data,
        f"Line chart of {labels.label(metric)} against {labels.name(axis)}. {'; '.join(said)}.",
        str(options.get("caption") or INTERVAL + (REFUSED if lost else "")),
    )


@kind("metric_by_arm")
def metric_by_arm(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """A metric for every arm, one row an arm, one panel a value of the axis where there is one.

    Options: ``metric`` (default test_loss), ``axis``, ``arms``, ``caption``.
    """
    metric = str(options.get("metric", "test_loss"))
    trials = with_role(frames.trials, str(options.get("role", "evaluation")))
    need(trials, [metric], "evaluation trials")
    arms = arms_of(frames, trials, options)
    try:
        axis: str | None = axis_of(frames, options)
    except MissingDataError:
        axis = None
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
        ax.set_xlabel(labels.label(metric))
        ax.xaxis.set_major_locator(ticker.MaxNLocator(4))
        if axis:
            ax.set_title(axis_text(axis, value))
    return Drawing(
        sheet,
        data,
        f"Dot chart of {labels.label(metric)} by arm. {'; '.join(said)}.",
        str(options.get("caption") or INTERVAL),
    )


@kind("step_time")
def step_time(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """Time per step from exclusive, interleaved timing trials, one line an arm."""
    trials = with_role(frames.trials, "timing").copy()
    if "seconds_per_step" not in trials:
        need(trials, ["seconds_training", "steps"], "timing trials")
        trials["seconds_per_step"] = trials["seconds_training"] / trials["steps"]
    trials["ms_per_step"] = 1e3 * trials["seconds_per_step"]
    axis = axis_of(frames, options)
    need(trials, ["ms_per_step", axis], "timing trials")
    values = ordered(trials, axis)
    arms = arms_of(frames, trials, options)
    by = trials.groupby(["arm", axis], sort=False, observed=True)["ms_per_step"]
    data = by.agg(median="median", least="min", most="max", n="count").reset_index()
    sheet = Sheet(1, size=(5.0, 3.2))
    ax = sheet.axes[0]
    handles, said = [], []
    for i, arm in enumerate(arms):
        colour, marker = frames.palette.colour(arm), frames.palette.marker(arm)
        line = data[data["arm"] == arm].set_index(axis).reindex(values).dropna()
        # Side by side, so that arms of equal speed do not cover each other.
        spots = np.array([values.index(v) for v in line.index]) + 0.08 * (i - (len(arms) - 1) / 2)
        ax.errorbar(
            spots,
            line["median"],
            yerr=[line["median"] - line["least"], line["most"] - line["median"]],
            color=colour,
            marker=marker,
            capsize=2.5,
            elinewidth=1.1,
        )
        handles.append(Line2D([], [], color=colour, marker=marker, label=arm))
        said.append(
            f"{arm}: {listed(f'{numbers.plain(v)} ms at {axis_text(axis, s)}' for s, v in line['median'].items())}"
        )
    ax.set_xticks(range(len(values)), [numbers.plain(v) if numbers.is_finite(v) else str(v) for v in values])
    ax.set(xlabel=labels.name(axis))
    sheet.left_text = "time per step (ms)"
    log_axis(ax, data[["least", "most"]].to_numpy().ravel(), "y")
    sheet.handles = handles
    return Drawing(
        sheet,
        data,
        f"Line chart of time per step. {'; '.join(said)}.",
        "Medians of exclusive, interleaved timing trials; bars from the fastest to the slowest.",
    )

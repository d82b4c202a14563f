"""Training curves: loss over steps, one panel a size, one line an arm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels
from harness.report.cells import at_best_lr, ordered
from harness.report.colours import MUTED
from harness.report.figures.layout import Sheet
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import axis_text, step_axis
from harness.report.frames import Frames, MissingDataError, need
from harness.report.labels import listed

BINS = 60
"""Points a line is thinned to; each is the mean of its bin."""
FLAT = 1e-6
"""Relative range below which a curve is constant."""
SEEDS = 5
"""Single seeds drawn beside a mean; more only blur it."""


@kind("training_curves")
def training_curves(
    frames: Frames,
    *,
    curve: str | None = None,
    axis: str | None = None,
    values: list[Any] | None = None,
    arms: list[str] | None = None,
    level: str | None = None,
) -> Drawing:
    """Loss over training at the chosen hyperparameters, one panel a size, one line an arm.

    ``curve``: default validation_loss, else train_loss, else the first recorded; ``values`` of the axis: default
    the smallest, middle and largest. ``level``: a metric whose mean is a dashed line, e.g. what chance gives.
    """
    need(frames.curves, ["curve", "step", "value"], "curves")
    present = list(frames.curves["curve"].unique())
    curve = curve or next((c for c in ("validation_loss", "train_loss") if c in present), present[0])
    if curve not in present:
        raise MissingDataError(f"no curve {curve!r}; recorded: {listed(sorted(present))}")
    trials = frames.ended("evaluation")
    axis = frames.axis(axis)
    trials = trials[trials["arm"].isin(frames.arms(trials, arms)) & trials[axis].notna()]
    trials = at_best_lr(trials, ["arm", axis], curve if curve in trials else frames.metric(None, trials))
    every = ordered(trials, axis)
    if values:
        every = [v for v in every if v in values]
    elif len(every) > 3:
        every = [every[0], every[len(every) // 2], every[-1]]
    return _panels(frames, trials[trials[axis].isin(every)], curve, axis, every, arms, level)


def _panels(
    frames: Frames, trials: pd.DataFrame, curve: str, axis: str, values: list[Any], chosen: list[str] | None,
    level: str | None,
) -> Drawing:  # fmt: skip
    points = frames.curves[frames.curves["curve"] == curve][["identity", "step", "value"]]
    points = trials[["identity", "arm", axis, "seed"]].drop_duplicates("identity").merge(points, on="identity")
    points = points.dropna(subset=["value"])
    if points.empty:
        raise MissingDataError(f"no points of {curve!r} in the evaluation trials")
    seeds = _thinned(points, axis)
    # As in the tables: no mean over survivors, so a line ends where its first seed does.
    total = seeds.groupby(["arm", axis], observed=True)["seed"].transform("nunique")
    mean = (
        seeds.assign(total=total)
        .groupby(["arm", axis, "bin"], sort=False, observed=True)
        .agg(step=("step", "mean"), value=("value", "mean"), n=("value", "count"), total=("total", "first"))
        .reset_index()
    )
    mean = mean[mean["n"] == mean["total"]]
    arms = frames.arms(mean, chosen)
    sheet = Sheet(len(values), share_y=False)
    levels: list[str] = []
    for ax, value in zip(sheet.axes, values, strict=True):
        for arm in arms:
            colour = frames.palette.colour(arm)
            here = seeds[(seeds["arm"] == arm) & (seeds[axis] == value)]
            for _, one in list(here.groupby("seed"))[:SEEDS]:
                ax.plot(one["step"], one["value"], color=colour, alpha=0.22, linewidth=0.8)
            line = mean[(mean["arm"] == arm) & (mean[axis] == value)]
            ax.plot(line["step"], line["value"], color=colour)
        here = mean[mean[axis] == value]
        if not here.empty:
            later = here[here["step"] >= 0.15 * here["step"].max()]["value"]
            low, high = here["value"].min(), later.max()
            # A constant curve has no range of its own: a tenth of its height about it.
            span = high - low if high - low > FLAT * abs(high) else max(0.1 * abs(high), FLAT)
            ax.set_ylim(low - 0.05 * span, high + 0.08 * span)
        ax.set_title(axis_text(axis, value))
        step_axis(ax)
        if level:
            need(trials, [level], "evaluation trials")
            height = trials.loc[trials[axis] == value, level].mean()
            if np.isfinite(height):
                levels.append(f"{numbers.plain(height)} at {axis_text(axis, value)}")
                ax.axhline(height, color=MUTED, linestyle="--", linewidth=1)
                ax.set_ylim(min(ax.get_ylim()[0], height - 0.05 * abs(ax.get_ylim()[1] - height)))
    sheet.left_text = frames.labels.label(curve)
    sheet.handles = [Line2D([], [], color=frames.palette.colour(a), label=a) for a in arms]
    data = mean.drop(columns=["bin", "total"]).reset_index(drop=True)
    return Drawing(
        sheet,
        data,
        _alt(data, arms, values, axis, sheet.left_text) + (f" Dashed: {listed(levels)}." if levels else ""),
        "Mean over seeds, thin lines are single seeds; each point is the mean of its stretch of steps. "
        "Only the end of the schedule is compared."
        + (f" Dashed: {frames.labels.label(str(level))}." if levels else ""),
    )


def _thinned(points: pd.DataFrame, axis: str) -> pd.DataFrame:
    """At most BINS points a trial: steps in equal bins of the size's own length, values averaged."""
    last = points.groupby(axis, observed=True)["step"].transform("max").clip(lower=1)
    points = points.assign(bin=np.minimum((points["step"] / last * BINS).astype(int), BINS - 1))
    return (
        points.groupby(["arm", axis, "seed", "bin"], sort=False, observed=True)
        .agg(step=("step", "mean"), value=("value", "mean"))
        .reset_index()
    )


def _alt(data: pd.DataFrame, arms: list[str], values: list[Any], axis: str, text: str) -> str:
    parts = [
        f"Line chart of {text} over training steps, one panel per {labels.name(axis)} "
        f"({listed(values)})."
    ]
    for value in values:
        ends = []
        for arm in arms:
            line = data[(data["arm"] == arm) & (data[axis] == value)]
            if not line.empty:
                ends.append(f"{arm} {numbers.plain(line['value'].iloc[-1])}")
        parts.append(f"Last point at {axis_text(axis, value)}: {listed(ends)}.")
    return " ".join(parts)

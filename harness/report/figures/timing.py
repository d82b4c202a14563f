"""Figure of step times."""

from __future__ import annotations

import numpy as np
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels
from harness.report.cells import ordered
from harness.report.figures.layout import Sheet
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import axis_text, log_axis
from harness.report.frames import Frames, need
from harness.report.labels import listed


@kind("step_time")
def step_time(frames: Frames, *, axis: str | None = None, arms: list[str] | None = None) -> Drawing:
    """Time per step from exclusive, interleaved timing trials, one line an arm."""
    trials = frames.ended("timing").copy()
    if "seconds_per_step" not in trials:
        need(trials, ["seconds_training", "steps"], "timing trials")
        trials["seconds_per_step"] = trials["seconds_training"] / trials["steps"]
    trials["ms_per_step"] = 1e3 * trials["seconds_per_step"]
    axis = frames.axis(axis)
    need(trials, ["ms_per_step", axis], "timing trials")
    values = ordered(trials, axis)
    arms = frames.arms(trials, arms)
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

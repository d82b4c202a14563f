"""Codecs: quality against rate, with the bounds that theory sets and the ceiling that the denoiser does."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness import numbers
from harness.report.cells import ordered
from harness.report.colours import MUTED
from harness.report.figures.layout import Sheet
from harness.report.figures.metrics import Scale
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import axis_text, log_axis
from harness.report.frames import Frames, MissingDataError, need
from harness.report.labels import listed

DASHES: tuple[Any, ...] = ((0, (5, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)))
"""Of bounds, which share a colour."""
ABOVE = ", above the figure"
POINTS = "Each point is a mean over what was encoded; codecs are compared pair by pair in the ledger, not here."


@kind("rate_distortion")
def rate_distortion(
    frames: Frames,
    *,
    rate: str,
    quality: str,
    by: str = "point",
    weight: str | None = None,
    arms: list[str] | None = None,
    bounds: list[str] | None = None,
    ceiling: str | None = None,
    panels: str | None = None,
    y_scale: Scale = "linear",
    role: str = "evaluation",
    caption: str | None = None,
) -> Drawing:
    """Quality against rate on a log axis, one line a codec through its points, with bounds and a ceiling.

    ``rate``: metric on the horizontal axis; ``quality``: metric on the vertical axis; ``by``: the axis whose values
    are a codec's points; ``weight``: metric that trials of one point count with, e.g. the number of photographs;
    ``bounds``: metrics drawn dashed over the rates at which they were worked out; ``ceiling``: metric whose mean is
    a level line; ``panels``: axis with a panel for each value; ``y_scale``: linear or log.
    """
    trials = frames.ended(role)
    need(trials, [rate, quality, by, *filter(None, (weight, panels))], f"{role} trials")
    trials = trials[(trials[rate] > 0) & trials[quality].notna() & trials[by].notna()]
    if trials.empty:
        raise MissingDataError(f"no {role} trials with a rate above 0")
    arms = frames.arms(trials, arms)
    trials = trials[trials["arm"].isin(arms)]
    values = ordered(trials, panels) if panels else [None]
    sheet = Sheet(len(values), size=(5.6 if len(values) == 1 else 3.9, 3.8), share_y=False)
    label, handles = frames.labels.label, dict[str, Line2D]()
    drawn, told = [], list[str]()
    for ax, value in zip(sheet.axes, values, strict=True):
        mine = trials if panels is None else trials[trials[panels] == value]
        data, said, more = _panel(ax, frames, mine, arms, rate, quality, by, weight, bounds or [], ceiling)
        where = "" if panels is None else f" at {axis_text(panels, value)}"
        if panels is not None:
            ax.set_title(axis_text(panels, value))
            data = data.assign(**{panels: value})
        log_axis(ax, data.loc[data[rate].notna(), rate], "x")
        if y_scale == "log":
            log_axis(ax, data[quality], "y")
        ax.set(xlabel=label(rate))
        drawn.append(data)
        told += [f"{text}{where}" for text in said]
        handles |= more
    above = [text for text in told if text.endswith(ABOVE)]
    sheet.left_text, sheet.handles = label(quality), list(handles.values())
    return Drawing(
        sheet,
        pd.concat(drawn, ignore_index=True),
        f"Line chart of {label(quality)} against {label(rate)} for {listed(arms)}, one mark per {by} "
        f"({listed(ordered(trials, by))}). {'; '.join(told)}.",
        " ".join([caption or POINTS, *(f"{text}." for text in above)]),
    )


def _panel(
    ax: Axes, frames: Frames, trials: pd.DataFrame, arms: list[str], rate: str, quality: str, by: str,
    weight: str | None, bounds: list[str], ceiling: str | None,
) -> tuple[pd.DataFrame, list[str], dict[str, Line2D]]:
    """Draws one panel: (what is drawn, its words, legend entries by name)."""
    data, handles, said = _points(trials, rate, quality, by, weight), {}, []
    extra = []
    for arm in [a for a in arms if a in set(data["series"])]:
        line = data[data["series"] == arm]
        colour, marker = frames.palette.colour(arm), frames.palette.marker(arm)
        ax.plot(line[rate], line[quality], marker=marker, color=colour)
        handles[arm] = Line2D([], [], color=colour, marker=marker, label=arm)
        ends = [line.iloc[0], line.iloc[-1]][: len(line)]
        spots = (f"{numbers.plain(e[quality])} at {numbers.plain(e[rate])}" for e in ends)
        said.append(f"{arm}: {' to '.join(spots)}")
    for metric, dashes in zip(bounds, cycle(DASHES), strict=False):
        named, curve = frames.labels.quantity(metric), _bound(trials, rate, metric)
        ax.plot(curve[rate], curve[metric], color=MUTED, linestyle=dashes, linewidth=1.2)
        handles[metric] = Line2D([], [], color=MUTED, linestyle=dashes, label=named)
        extra.append(curve.rename(columns={metric: quality}).assign(series=metric))
        said.append(f"{named} from {numbers.plain(curve[metric].iloc[0])}")
    if ceiling:
        need(trials, [ceiling], "trials")
        level, named = float(trials[ceiling].mean()), frames.labels.quantity(ceiling)
        extra.append(pd.DataFrame({"series": [ceiling], quality: [level]}))
        # Far above all points a line would press them together: then it is told.
        fits = level <= data[quality].max() + np.ptp(data[quality])
        said.append(f"{named} {numbers.plain(level)}{'' if fits else ABOVE}")
        if fits:
            ax.axhline(level, color=MUTED, linewidth=1.0)
            handles[ceiling] = Line2D([], [], color=MUTED, label=named)
    return pd.concat([data, *extra], ignore_index=True), said, handles


def _points(trials: pd.DataFrame, rate: str, quality: str, by: str, weight: str | None) -> pd.DataFrame:
    """One row a codec and point, the cheapest first: means, weighted, and the number of trials behind them."""
    rows = []
    for (arm, point), group in trials.groupby(["arm", by], sort=False, observed=True):
        weights = group[weight].to_numpy(dtype=float) if weight else np.ones(len(group))
        means = {c: float(np.average(group[c].to_numpy(dtype=float), weights=weights)) for c in (rate, quality)}
        rows.append({"series": arm, by: point, **means, "num_trials": len(group)})
    return pd.DataFrame(rows).sort_values(rate, ignore_index=True)


def _bound(trials: pd.DataFrame, rate: str, metric: str) -> pd.DataFrame:
    """(rate, metric) of the trials that have it, means at equal rates, ascending."""
    need(trials, [metric], "trials")
    return trials.dropna(subset=[metric]).groupby(rate, as_index=False)[[metric]].mean().sort_values(by=[rate])

"""Figures of what stands in a normalisation's place: slopes against scales, and responses with what fits them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from scipy import special, stats

from harness import numbers
from harness.report.cells import natural_key
from harness.report.colours import MUTED
from harness.report.figures.layout import Sheet
from harness.report.figures.probes import rows_of
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import log_axis
from harness.report.frames import Frames, MissingDataError, need
from harness.report.labels import listed

SITE_MARKERS = {"attention": "o", "feed_forward": "s", "final": "^"}
FITTED: Mapping[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "isru": lambda x: x / np.sqrt(1 + x * x),
    "erf": special.erf,
}
"""The fits of :mod:`harness.metrics.response`, which needs torch."""
CEILING = "ceiling"
RESPONSE = (
    "Mean and one sd of what leaves, by quantiles of what enters, one seed; the dashed line is the best of linear, "
    "tanh, isru and erf. Inside the band lies what no point-wise function can follow."
)


def _rows(frames: Frames, probe: str, which: str, columns: list[str]) -> pd.DataFrame:
    """A probe's rows of one kind at the end of each run, with its sites in words."""
    rows = rows_of(frames, probe)
    what = f"rows of the probe {probe}"
    need(rows, ["kind", "arm", "seed", "step", "layer", "site"], what)
    rows = rows[rows["kind"] == which]
    need(rows, columns, f"{what} of the kind {which}")
    rows = rows[rows["step"] == rows.groupby("identity")["step"].transform("max")]
    return rows.assign(place=[_place(*at) for at in zip(rows["layer"], rows["site"], strict=True)])


def _place(layer: float, site: str) -> str:
    words = site.replace("_", "-")
    return words if layer < 0 else f"block {int(layer)}, {words}"


@kind("alpha_against_std")
def alpha_against_std(
    frames: Frames, *, probe: str = "norm_sites", arms: list[str] | None = None, caption: str | None = None
) -> Drawing:
    """|alpha| at the end against 1/std of what enters, a point a site and seed, one panel an arm.

    The dashed line is |alpha| in proportion to 1/std, through the middle of the points.
    """
    rows = _rows(frames, probe, "site", ["alpha_mean", "input_std"])
    rows = rows[(rows["alpha_mean"] > 0) & (rows["input_std"] > 0)]
    if rows.empty:
        raise MissingDataError("no site with a slope")
    rows = rows.assign(inverse_std=1 / rows["input_std"])
    arms = frames.arms(rows, arms)
    data = rows[rows["arm"].isin(arms)]
    sheet = Sheet(len(arms))
    said = []
    for ax, arm in zip(sheet.axes, arms, strict=True):
        mine = data[data["arm"] == arm]
        for site, points in mine.groupby("site", sort=True):
            marker = SITE_MARKERS.get(str(site), "D")
            ax.plot(
                points["inverse_std"], points["alpha_mean"], marker, color=frames.palette.colour(arm), alpha=0.55,
                markersize=5, markeredgewidth=0,
            )
        ends = np.array([mine["inverse_std"].min(), mine["inverse_std"].max()])
        middle = np.exp(np.log(mine["alpha_mean"]).mean() - np.log(mine["inverse_std"]).mean())
        ax.plot(ends, middle * ends, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.1)
        log_axis(ax, data["inverse_std"], "x")
        log_axis(ax, data["alpha_mean"], "y")
        ax.set_title(arm)
        ax.set_xlabel("1 / std of what enters")
        said.append(f"{arm}: {_correlation_text(mine)}")
    sheet.left_text = "|alpha|"
    sheet.handles = [
        Line2D([], [], color=MUTED, marker=m, linestyle="", label=s.replace("_", "-"))
        for s, m in SITE_MARKERS.items() if s in set(data["site"])
    ] + [Line2D([], [], color=MUTED, linestyle=(0, (4, 3)), linewidth=1.1, label="in proportion")]  # fmt: skip
    return Drawing(
        sheet,
        data[["arm", "seed", "layer", "site", "alpha_mean", "input_std", "inverse_std"]],
        f"Scatter of |alpha| against 1 / std of what enters each site, at the end. {'; '.join(said)}.",
        caption or "A point a site and seed, at the end; the dashed line is |alpha| in proportion to 1 / std.",
    )


def _correlation_text(rows: pd.DataFrame) -> str:
    """The rank correlation over sites, run by run."""
    found = [
        float(stats.spearmanr(run["inverse_std"], run["alpha_mean"]).statistic)
        for _, run in rows.groupby("seed") if len(run) > 2
    ]  # fmt: skip
    if not found:
        return "too few sites for a rank correlation"
    return f"rank correlation over sites {numbers.plain(float(np.mean(found)))}, mean of {len(found)} seeds"


@kind("response_curves")
def response_curves(
    frames: Frames, *, arm: str, probe: str = "norm_sites", seed: int | None = None, caption: str | None = None
) -> Drawing:
    """What leaves a trained norm, before its gains, against what enters, one panel a site, with the best fit.

    The band is one sd of what leaves at an input: what no function of the input alone can follow. ``seed``: whose,
    default the first.
    """
    bins = _rows(frames, probe, "response", ["input", "output", "output_sd"])
    fits = _rows(frames, probe, "fit", ["fit", "r2"])
    frames.arms(bins, [arm])
    seed = int(bins.loc[bins["arm"] == arm, "seed"].min()) if seed is None else seed
    bins, fits = (f[(f["arm"] == arm) & (f["seed"] == seed)] for f in (bins, fits))
    if bins.empty:
        raise MissingDataError(f"no response of the arm {arm} with the seed {seed}")
    # Blocks in their order, and what stands after them last.
    places = sorted(bins["place"].unique(), key=lambda p: (not p.startswith("block"), natural_key(p)))
    if len(places) > 6:
        places = [places[round(i)] for i in np.linspace(0, len(places) - 1, 6)]
    sheet = Sheet(len(places))
    colour, said = frames.palette.colour(arm), []
    for ax, place in zip(sheet.axes, places, strict=True):
        mine = bins[bins["place"] == place].sort_values("input")
        x, y, sd = (mine[c].to_numpy(dtype=float) for c in ("input", "output", "output_sd"))
        ax.fill_between(x, y - sd, y + sd, color=colour, alpha=0.2, linewidth=0)
        ax.plot(x, y, color=colour)
        ax.set_title(place)
        ax.set_xlabel("what enters")
        known = fits[fits["place"] == place].set_index("fit")
        shapes = known.loc[[f for f in known.index if f in FITTED]]
        if shapes.empty:
            continue
        best = str(shapes["r2"].astype(float).idxmax())
        gain, slope, offset = (float(shapes.loc[best, f"fit_{c}"]) for c in ("gain", "slope", "offset"))
        ax.plot(x, gain * FITTED[best](slope * x) + offset, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.1)
        text = f"{place}: {best} explains {numbers.plain(shapes.loc[best, 'r2'])} of the variance"
        if CEILING in known.index:
            text += f", any function {numbers.plain(known.loc[CEILING, 'r2'])}"
        said.append(text)
    sheet.left_text = "what leaves, before gains"
    sheet.handles = [
        Line2D([], [], color=colour, label=f"{arm}, mean and sd"),
        Line2D([], [], color=MUTED, linestyle=(0, (4, 3)), linewidth=1.1, label="best point-wise fit"),
    ]
    data = bins[bins["place"].isin(places)]
    return Drawing(
        sheet,
        data[["arm", "seed", "layer", "site", "bin", "input", "output", "output_sd"]],
        f"Line chart of what leaves the norms of {arm} against what enters ({listed(places)}). {'; '.join(said)}.",
        caption or RESPONSE,
    )

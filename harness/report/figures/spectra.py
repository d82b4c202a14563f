"""Figures of matrices' spectra: heat maps of a functional, and singular values by index."""

from __future__ import annotations

from typing import Any

import numpy as np
import seaborn as sns
from matplotlib import ticker
from matplotlib.lines import Line2D

from harness import numbers
from harness.report.cells import natural_key
from harness.report.figures.layout import Sheet
from harness.report.figures.probes import filter_of, functional_of, probe_rows
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import log_axis
from harness.report.frames import Frames, MissingDataError, need
from harness.report.labels import listed


@kind("rank_heatmap")
def rank_heatmap(
    frames: Frames,
    *,
    quantity: str | None = None,
    functional: str | None = None,
    where: dict[str, Any] | None = None,
    claim: str | None = None,
    value: str = "value",
    row: str | None = None,
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
) -> Drawing:
    """A rank functional of every matrix over training: rows are matrices or layers, columns steps, panels arms.

    ``row``: a column, default matrix; all else as of ``rank_over_training``.
    """
    chosen = functional_of(frames, filter_of(frames, claim, where), quantity, functional)
    rows, words = probe_rows(frames, "spectra", value, where=chosen, axis=axis, cell=cell, arms=arms)
    row = row or ("matrix" if "matrix" in rows and rows["matrix"].notna().any() else "layer")
    need(rows, [row], "probe rows")
    data = rows.groupby(["arm", row, "step"], observed=True)[value].mean().reset_index()
    arms, names = frames.arms(data, arms), sorted(data[row].unique(), key=natural_key)
    steps = sorted(data["step"].unique())
    if len(steps) > 24:
        steps = [steps[round(i)] for i in np.linspace(0, len(steps) - 1, 24)]
        data = data[data["step"].isin(steps)]
    low, high = float(data[value].min()), float(data[value].max())
    sheet = Sheet(len(arms), size=(3.7, min(5.0, 1.3 + 0.2 * len(names))))
    said = []
    for ax, arm in zip(sheet.axes, arms, strict=True):
        grid = (
            data[data["arm"] == arm]
            .pivot(index=row, columns="step", values=value)
            .reindex(index=names, columns=steps)
        )
        sns.heatmap(
            grid.set_axis(_short_names(names), axis=0),
            ax=ax,
            vmin=low,
            vmax=high,
            cmap="viridis",
            cbar=False,
            rasterized=True,
            yticklabels=max(1, len(names) // 16),
            xticklabels=False,
        )
        spots = sorted({0, len(steps) // 2, len(steps) - 1})
        ax.set_xticks([s + 0.5 for s in spots], [str(steps[s]) for s in spots], rotation=0)
        ax.tick_params(axis="y", rotation=0, labelsize=8)
        ax.grid(False)
        ax.set(title=arm, xlabel="step", ylabel="")
        said.append(f"{arm}: from {numbers.plain(grid.min().min())} to {numbers.plain(grid.max().max())}")
    text = frames.labels.label(chosen.get("functional", value))
    sheet.add_bar(sheet.axes[0].collections[0], text)
    return Drawing(
        sheet,
        data.rename(columns={value: "value"}),
        f"Heat map of {text} ({words}): {len(names)} rows by {len(steps)} steps, one panel per arm. "
        f"{'; '.join(said)}.",
        f"{words[:1].upper()}{words[1:]}. Mean over seeds; one scale for all panels.",
    )


def _short_names(names: list[Any]) -> list[str]:
    """``0 query`` for ``blocks.0.attention.qkv.weight.query``; whole names where that would not tell them apart."""
    parts = [[p for p in str(n).split(".") if p not in ("blocks", "weight")] or [str(n)] for n in names]
    short = [f"{p[0]} {p[-1]}" if len(p) > 1 else p[0] for p in parts]
    return short if len(set(short)) == len(short) else [str(n) for n in names]


@kind("spectra")
def spectra(
    frames: Frames,
    *,
    quantity: str = "weight",
    where: dict[str, Any] | None = None,
    value: str = "value",
    step: int | None = None,
    panel: str = "matrix",
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
) -> Drawing:
    """Singular values by index at the end of training, relative to the largest, one panel a matrix.

    Reads rows of the probe with an ``index`` column and, where there is one, the functional ``singular_value``.
    ``step``: default the last.
    """
    probes_ = frames.probes
    if "index" not in probes_ or not probes_["index"].notna().any():
        raise MissingDataError("no spectra: the probe kept functionals, not singular values")
    where = dict(where or {})
    if "functional" in probes_:
        where.setdefault("functional", "singular_value")
    if "kind" in probes_:
        where.setdefault("kind", quantity)
    rows, words = probe_rows(frames, "spectra", value, where=where, axis=axis, cell=cell, arms=arms)
    rows = rows[rows["step"] == (rows["step"].max() if step is None else step)]
    need(rows, [panel, "index"], "spectra")
    data = rows.groupby([panel, "arm", "index"], observed=True)[value].mean().reset_index()
    top = data.groupby([panel, "arm"], observed=True)[value].transform("max")
    data["relative"] = data[value] / top.where(top > 0)
    data = data[data["relative"] > 0]
    names = sorted(data[panel].unique(), key=natural_key)[:6]
    data = data[data[panel].isin(names)].reset_index(drop=True)
    arms = frames.arms(data, arms)
    sheet = Sheet(len(names))
    for ax, name in zip(sheet.axes, names, strict=True):
        for arm in arms:
            line = data[(data[panel] == name) & (data["arm"] == arm)].sort_values("index")
            ax.plot(line["index"], line["relative"], color=frames.palette.colour(arm))
        ax.set(title=str(name), xlabel="index")
        ax.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        log_axis(ax, data["relative"], "y")
    sheet.left_text = "singular value / largest"
    sheet.handles = [Line2D([], [], color=frames.palette.colour(a), label=a) for a in arms]
    last = data.sort_values("index").groupby(["arm", panel], observed=True)["relative"].last()
    said = [
        f"{arm}: smallest over largest from {numbers.plain(last[arm].min(), 2)} to "
        f"{numbers.plain(last[arm].max(), 2)}"
        for arm in arms
    ]
    return Drawing(
        sheet,
        data,
        f"Line chart of singular values by index on a log scale, panels {listed(names)}. {'; '.join(said)}.",
        f"Mean over seeds, {words}.",
    )

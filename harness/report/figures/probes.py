"""Figures of what probes measured over training: any value, and ranks against the untrained Gaussian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels
from harness.report.cells import natural_key, ordered
from harness.report.colours import MUTED
from harness.report.figures.layout import Sheet
from harness.report.figures.registry import Drawing, kind
from harness.report.figures.theme import axis_text, log_axis, step_axis
from harness.report.frames import Frames, MissingDataError, estimator_of, matching, need
from harness.report.labels import listed


def probe_rows(
    frames: Frames,
    probe: str,
    value: str,
    *,
    where: Mapping[str, Any],
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
) -> tuple[pd.DataFrame, str]:
    """(a probe's rows of evaluation trials, what they were narrowed to in words).

    ``where``: column -> value, or a list of values; ``cell``: a value of the axis, by default the largest.
    """
    what = f"rows of the probe {probe}"
    rows = rows_of(frames, probe)
    need(rows, ["arm", "step", value], what)
    rows = matching(rows[rows[value].notna()], where, what)
    words = [
        frames.labels.label(wanted) if isinstance(wanted, str) else f"{labels.name(column)} {_values(wanted)}"
        for column, wanted in where.items()
    ]
    rows = of_cell(frames, rows, what, words, axis, cell, last=True)
    return rows[rows["arm"].isin(frames.arms(rows, arms))], ", ".join(words)


def of_cell(
    frames: Frames, rows: pd.DataFrame, what: str, words: list[str], axis: str | None, cell: Any, *, last: bool
) -> pd.DataFrame:
    """Rows of one value of the axis, where they have one; which one is added to ``words``.

    ``cell``: the value, by default the largest (``last``) or the smallest that there is.
    """
    try:
        axis = frames.axis(axis)
    except MissingDataError:
        axis = None
    if axis and axis in rows and rows[axis].notna().any():
        if cell is None:
            cell = ordered(frames.trials[frames.trials[axis].isin(rows[axis])], axis)[-1 if last else 0]
        rows = rows[rows[axis] == cell]
        words.append(axis_text(axis, cell))
    if rows.empty:
        raise MissingDataError(f"no {what} for {listed(words)}")
    return rows


def rows_of(frames: Frames, probe: str) -> pd.DataFrame:
    """A probe's rows of evaluation trials."""
    rows = frames.probes
    rows = rows[rows["probe"] == probe] if "probe" in rows else rows.iloc[:0]
    if "role" in rows:
        return rows[rows["role"] == "evaluation"]
    if "identity" in rows and "identity" in frames.trials:
        kept = frames.trials.loc[frames.trials["role"] == "evaluation", "identity"]
        return rows[rows["identity"].isin(kept)]
    return rows


def filter_of(frames: Frames, claim: str | None, where: Mapping[str, Any] | None) -> dict[str, Any]:
    """The filter of a claim's estimator, with the figure's own laid over it."""
    own = estimator_of(frames.claim(claim)).get("where") if claim else None
    return {**(own or {}), **(where or {})}


def functional_of(
    frames: Frames, where: dict[str, Any], quantity: str | None, functional: str | None
) -> dict[str, Any]:
    """The filter narrowed to one functional of one kind of matrix."""
    out = dict(where)
    for column, chosen, preferred in (("kind", quantity, "weight"), ("functional", functional, "svd_entropy")):
        if chosen is not None:
            out[column] = chosen
        elif column not in out and column in frames.probes and frames.probes[column].notna().any():
            present = list(frames.probes[column].dropna().unique())
            out[column] = preferred if preferred in present else present[0]
    return out


def _values(wanted: Any) -> str:
    return listed(wanted) if isinstance(wanted, (list, tuple)) else str(wanted)


@kind("probe_over_training")
def probe_over_training(
    frames: Frames,
    *,
    probe: str = "spectra",
    value: str = "value",
    where: dict[str, Any] | None = None,
    claim: str | None = None,
    panel: str | None = None,
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
    reference: float | None = None,
    y_scale: Literal["linear", "log"] = "linear",
    label: str | None = None,
    caption: str | None = None,
) -> Drawing:
    """Any column of a probe over training, one line an arm, one panel a layer.

    ``where``: column -> value; ``claim``: whose filter it takes; ``cell``: a value of the axis, default the
    largest; ``panel``: a column, default layer, '' for one panel; ``reference``: a number to draw a line at.
    """
    where = filter_of(frames, claim, where)
    rows, words = probe_rows(frames, probe, value, where=where, axis=axis, cell=cell, arms=arms)
    if panel is None:
        panel = "layer" if "layer" in rows and rows["layer"].notna().any() else ""
    if panel:
        need(rows, [panel], "probe rows")
        names: list[Any] = sorted(rows[panel].dropna().unique(), key=natural_key)
    else:
        rows, panel, names = rows.assign(_all=""), "_all", [""]
    if len(names) > 6:
        names = [names[round(i)] for i in np.linspace(0, len(names) - 1, 6)]
        rows = rows[rows[panel].isin(names)]
    rows = rows.assign(seed=rows.get("seed", 0))
    baseline = _baseline(rows, panel)
    # The unit is the seed: matrices of one layer are averaged within it first.
    seeds = rows.groupby([panel, "arm", "seed", "step"], observed=True)[value].mean().reset_index()
    mean = seeds.groupby([panel, "arm", "step"], observed=True)[value].agg(value="mean", n="count").reset_index()
    arms = frames.arms(mean, arms)
    few = seeds["seed"].isin(sorted(seeds["seed"].unique())[:5])
    sheet = Sheet(len(names))
    for ax, name in zip(sheet.axes, names, strict=True):
        for arm in arms:
            colour = frames.palette.colour(arm)
            for _, one in seeds[(seeds[panel] == name) & (seeds["arm"] == arm) & few].groupby("seed"):
                ax.plot(one["step"], one[value], color=colour, alpha=0.25, linewidth=0.8)
            line = mean[(mean[panel] == name) & (mean["arm"] == arm)]
            ax.plot(line["step"], line["value"], color=colour)
        level = baseline.get(name, reference)
        if level is not None and numbers.is_finite(level):
            ax.axhline(float(level), color=MUTED, linestyle=(0, (4, 3)), linewidth=1.1)
            mean.loc[mean[panel] == name, "baseline"] = level
        if name != "":
            ax.set_title(_panel_title(panel, name))
        step_axis(ax)
        if y_scale == "log":
            log_axis(ax, mean["value"], "y")
    text = label or frames.labels.label(where.get("functional", value))
    sheet.left_text = text
    handles = [Line2D([], [], color=frames.palette.colour(a), label=a) for a in arms]
    if baseline or numbers.is_finite(reference):
        handles.append(
            Line2D(
                [],
                [],
                color=MUTED,
                linestyle=(0, (4, 3)),
                linewidth=1.1,
                label="untrained Gaussian" if baseline else "reference",
            )
        )
    sheet.handles = handles
    return Drawing(
        sheet,
        mean.drop(columns="_all", errors="ignore"),
        _over_training_alt(mean, panel, names, arms, text, words),
        caption or f"{words[:1].upper()}{words[1:]}. Mean over seeds, thin lines are single seeds.",
    )


@kind("rank_over_training")
def rank_over_training(
    frames: Frames,
    *,
    quantity: str | None = None,
    functional: str | None = None,
    where: dict[str, Any] | None = None,
    claim: str | None = None,
    panel: str | None = None,
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
    y_scale: Literal["linear", "log"] = "linear",
    caption: str | None = None,
) -> Drawing:
    """A rank functional over training per layer and arm, with the untrained Gaussian's value as baseline.

    ``quantity``: weight, update or activation; all else as of ``probe_over_training``.
    """
    chosen = functional_of(frames, filter_of(frames, claim, where), quantity, functional)
    return probe_over_training(
        frames, where=chosen, panel=panel, axis=axis, cell=cell, arms=arms, y_scale=y_scale, caption=caption
    )


def _panel_title(panel: str, name: Any) -> str:
    return f"{labels.name(panel)} {numbers.plain(name)}" if numbers.is_finite(name) else str(name)


def _baseline(rows: pd.DataFrame, panel: str) -> dict[Any, float]:
    """Panel -> the untrained Gaussian's value: its own column, else the closed form for the matrices' shapes."""
    for column in ("gaussian", "gaussian_limit", "baseline"):
        if column in rows and rows[column].notna().any():
            return rows.groupby(panel, observed=True)[column].mean().dropna().to_dict()
    if not {"rows", "columns", "functional"} <= set(rows.columns) or rows["kind"].ne("weight").any():
        return {}
    from harness.metrics.marchenko_pastur import gaussian_limit

    found: dict[Any, list[float]] = {}
    keys = rows[[panel, "functional", "rows", "columns"]].dropna().drop_duplicates()
    for name, functional, height, width in keys.itertuples(index=False):
        try:
            found.setdefault(name, []).append(gaussian_limit(str(functional), int(height), int(width)))
        except Exception:
            # No closed form for this functional: the figure stands without a line.
            return {}
    return {name: float(np.mean(values)) for name, values in found.items()}


def _over_training_alt(
    mean: pd.DataFrame, panel: str, names: list[Any], arms: list[str], text: str, words: str
) -> str:
    parts = [f"Line chart of {text} over training steps ({words}), arms {listed(arms)}."]
    for name in names:
        ends = []
        for arm in arms:
            line = mean[(mean[panel] == name) & (mean["arm"] == arm)]
            if not line.empty:
                ends.append(
                    f"{arm} from {numbers.plain(line['value'].iloc[0])} to {numbers.plain(line['value'].iloc[-1])}"
                )
        level = mean.loc[mean[panel] == name, "baseline"].iloc[0] if "baseline" in mean else None
        parts.append(
            (f"{_panel_title(panel, name)}: " if name != "" else "")
            + listed(ends)
            + (f"; untrained Gaussian {numbers.plain(level)}" if numbers.is_finite(level) else "")
            + "."
        )
    return " ".join(parts)

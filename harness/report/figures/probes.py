"""Figures of what probes measured: any value over training, ranks against the Gaussian, heat maps, spectra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.lines import Line2D

from harness import numbers
from harness.report import labels
from harness.report.colours import MUTED
from harness.report.figures.common import (
    Drawing,
    Frames,
    MissingDataError,
    Sheet,
    arms_of,
    axis_of,
    axis_text,
    kind,
    listed,
    log_axis,
    natural_key,
    need,
    ordered,
    step_axis,
)


def probe_rows(frames: Frames, options: Mapping[str, Any], probe: str, value: str) -> tuple[pd.DataFrame, str]:
    """(rows of a probe, what they were narrowed to in words).

    Options: ``probe``, ``where`` {column: value}, ``axis`` and ``cell`` (default: the largest value of the axis),
    ``arms``, ``seed``.
    """
    probe = str(options.get("probe", probe))
    rows = frames.probes
    rows = rows[rows["probe"] == probe] if "probe" in rows else rows.iloc[:0]
    need(rows, ["arm", "step", value], f"rows of the probe {probe}")
    rows = rows[rows[value].notna()]
    words = []
    for column, wanted in dict(options.get("where", {})).items():
        need(rows, [column], f"rows of the probe {probe}")
        rows = rows[rows[column] == wanted]
        words.append(labels.label(wanted) if isinstance(wanted, str) else f"{labels.name(column)} {wanted}")
    try:
        axis = axis_of(frames, options)
    except MissingDataError:
        axis = None
    if axis and axis in rows and rows[axis].notna().any():
        cell = options.get("cell", ordered(frames.trials[frames.trials[axis].isin(rows[axis])], axis)[-1])
        rows = rows[rows[axis] == cell]
        words.append(axis_text(axis, cell))
    if "role" in rows:
        rows = rows[rows["role"] == "evaluation"]
    elif "identity" in rows and "identity" in frames.trials:
        kept = frames.trials.loc[frames.trials["role"] == "evaluation", "identity"]
        rows = rows[rows["identity"].isin(kept)]
    if rows.empty:
        raise MissingDataError(f"no rows of the probe {probe} for {listed(words)}")
    rows = rows[rows["arm"].isin(arms_of(frames, rows, options))]
    return rows, ", ".join(words)


def _functional(frames: Frames, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options narrowed to one functional of one kind of matrix."""
    where = dict(options.get("where", {}))
    # A suite's YAML says 'quantity': its 'kind' is the figure's own.
    options = {"kind": options["quantity"], **options} if "quantity" in options else options
    for column, preferred in (("kind", "weight"), ("functional", "svd_entropy")):
        if column in options:
            where[column] = options[column]
        elif column not in where and column in frames.probes and frames.probes[column].notna().any():
            present = list(frames.probes[column].dropna().unique())
            where[column] = preferred if preferred in present else present[0]
    return {**options, "where": where}


@kind("probe_over_training")
def probe_over_training(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """Any column of a probe over training, one line an arm, one panel a layer.

    Options beside those of ``probe_rows``: ``value`` (column, default value), ``panel`` (column, default layer;
    '' for one panel), ``reference`` (a number to draw a line at), ``y_scale``, ``label``, ``caption``.
    """
    value = str(options.get("value", "value"))
    rows, words = probe_rows(frames, options, "spectra", value)
    panel = str(options.get("panel", "layer" if "layer" in rows and rows["layer"].notna().any() else ""))
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
    arms = arms_of(frames, mean, options)
    few = seeds["seed"].isin(sorted(seeds["seed"].unique())[:5])
    sheet = Sheet(len(names))
    for ax, name in zip(sheet.axes, names, strict=True):
        for arm in arms:
            colour = frames.palette.colour(arm)
            for _, one in seeds[(seeds[panel] == name) & (seeds["arm"] == arm) & few].groupby("seed"):
                ax.plot(one["step"], one[value], color=colour, alpha=0.25, linewidth=0.8)
            line = mean[(mean[panel] == name) & (mean["arm"] == arm)]
            ax.plot(line["step"], line["value"], color=colour)
        level = baseline.get(name, options.get("reference"))
        if level is not None and numbers.is_finite(level):
            ax.axhline(float(level), color=MUTED, linestyle=(0, (4, 3)), linewidth=1.1)
            mean.loc[mean[panel] == name, "baseline"] = level
        if name != "":
            ax.set_title(_panel_title(panel, name))
        step_axis(ax)
        if options.get("y_scale") == "log":
            log_axis(ax, mean["value"], "y")
    text = str(options.get("label") or labels.label(dict(options.get("where", {})).get("functional", value)))
    sheet.left_text = text
    handles = [Line2D([], [], color=frames.palette.colour(a), label=a) for a in arms]
    if baseline or numbers.is_finite(options.get("reference")):
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
        str(
            options.get("caption")
            or f"{words[:1].upper()}{words[1:]}. Mean over seeds, thin lines are single seeds."
        ),
    )


@kind("rank_over_training")
def rank_over_training(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """A rank functional over training per layer and arm, with the untrained Gaussian's value as baseline.

    Options: ``quantity`` (weight, update, activation), ``functional``, and those of ``probe_over_training``.
    """
    return probe_over_training(frames, _functional(frames, options))


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


@kind("rank_heatmap")
def rank_heatmap(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """A rank functional of every matrix over training: rows are matrices or layers, columns steps, panels arms.

    Options: ``quantity``, ``functional``, ``row`` (column, default matrix), and those of ``probe_rows``.
    """
    options = _functional(frames, options)
    value = str(options.get("value", "value"))
    rows, words = probe_rows(frames, options, "spectra", value)
    row = str(options.get("row", "matrix" if "matrix" in rows and rows["matrix"].notna().any() else "layer"))
    need(rows, [row], "probe rows")
    data = rows.groupby(["arm", row, "step"], observed=True)[value].mean().reset_index()
    arms, names = arms_of(frames, data, options), sorted(data[row].unique(), key=natural_key)
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
    text = labels.label(dict(options["where"]).get("functional", value))
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
def spectra(frames: Frames, options: Mapping[str, Any]) -> Drawing:
    """Singular values by index at the end of training, relative to the largest, one panel a matrix.

    Reads rows of the probe with an ``index`` column and, where there is one, the functional
    ``singular_value``. Options: ``quantity``, ``step`` (default: the last), ``panel`` (default matrix).
    """
    probes_ = frames.probes
    if "index" not in probes_ or not probes_["index"].notna().any():
        raise MissingDataError("no spectra: the probe kept functionals, not singular values")
    where = dict(options.get("where", {}))
    if "functional" in probes_:
        where.setdefault("functional", "singular_value")
    if "kind" in probes_:
        where.setdefault("kind", options.get("quantity", options.get("kind", "weight")))
    value = str(options.get("value", "value"))
    rows, words = probe_rows(frames, {**options, "where": where}, "spectra", value)
    rows = rows[rows["step"] == options.get("step", rows["step"].max())]
    panel = str(options.get("panel", "matrix"))
    need(rows, [panel, "index"], "spectra")
    data = rows.groupby([panel, "arm", "index"], observed=True)[value].mean().reset_index()
    top = data.groupby([panel, "arm"], observed=True)[value].transform("max")
    data["relative"] = data[value] / top.where(top > 0)
    data = data[data["relative"] > 0]
    names = sorted(data[panel].unique(), key=natural_key)[:6]
    data = data[data[panel].isin(names)].reset_index(drop=True)
    arms = arms_of(frames, data, options)
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

"""What every figure shares: frames in, drawing out, registry, theme, cell means, axes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from harness import numbers
from harness.errors import HarnessError, unknown
from harness.report import labels
from harness.report.colours import GRID, INK, MUTED, PAPER, Palette
from harness.report.figures.layout import Sheet


class MissingDataError(HarnessError):
    """A figure's data is not there; the report prints the reason in its place."""


@dataclass(frozen=True)
class Frames:
    """What one suite's figures read; long frames as documented in harness.report.build."""

    trials: pd.DataFrame
    curves: pd.DataFrame
    probes: pd.DataFrame
    palette: Palette
    claims: Sequence[Mapping[str, Any]] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    axes: tuple[str, ...] = ()
    """Names of the suite's axes, where known."""


@dataclass(frozen=True)
class Drawing:
    """A figure with its data and its words."""

    sheet: Sheet
    data: pd.DataFrame
    """What is drawn, tidy: one row a point or a bar."""
    alt: str
    """Text alternative, generated from the data."""
    caption: str

    @property
    def figure(self) -> Figure:
        """The matplotlib figure, as it was last arranged."""
        return self.sheet.figure


Kind = Callable[[Frames, Mapping[str, Any]], Drawing]
_kinds: dict[str, Kind] = {}


def kind(name: str) -> Callable[[Kind], Kind]:
    """Decorator: registers a function as a figure kind."""

    def wrap(function: Kind) -> Kind:
        _kinds[name] = function
        return function

    return wrap


def kinds() -> dict[str, str]:
    """Figure kinds -> what they show."""
    return {name: (f.__doc__ or "").partition("\n")[0] for name, f in sorted(_kinds.items())}


def draw(name: str, frames: Frames, options: Mapping[str, Any] | None = None) -> Drawing:
    """Draw one figure; ``options["columns"]`` limits the panels beside each other: 1 fits a phone.

    Raises MissingDataError with the reason if the frames lack what it shows, UnknownNameError for other kinds.
    """
    if name not in _kinds:
        raise unknown("figure kind", name, _kinds, "figures")
    with matplotlib.rc_context(THEME):
        drawing = _kinds[name](frames, options or {})
        drawing.sheet.arrange((options or {}).get("columns"))
        return drawing


def relaid(drawing: Drawing, columns: int) -> Drawing:
    """The same drawing with at most so many panels beside each other; its figure is changed in place."""
    with matplotlib.rc_context(THEME):
        drawing.sheet.arrange(columns)
    return drawing


THEME: Any = {
    **sns.axes_style("ticks"),
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlecolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": GRID,
    "axes.grid": True,
    "grid.linewidth": 0.7,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.title_fontsize": 9,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.7,
    "lines.markersize": 5,
    "lines.solid_capstyle": "round",
    "axes.unicode_minus": True,
    "axes.axisbelow": True,
    "patch.force_edgecolor": False,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "svg.fonttype": "none",
    "path.simplify": True,
}
"""seaborn's ticks style with the report's ink; text stays text in the SVG."""


# --- axes -------------------------------------------------------------------------------------------------


def log2_axis(ax: Axes, values: Iterable[float], axis: str = "x") -> None:
    """A log2 scale with ticks at powers of two; at most seven of them."""
    exponents = [math.log2(v) for v in values]
    low, high = math.floor(min(exponents)), math.ceil(max(exponents))
    step = max(1, math.ceil((high - low) / 6))
    getattr(ax, f"set_{axis}scale")("log", base=2)
    which = ax.xaxis if axis == "x" else ax.yaxis
    which.set_major_locator(ticker.FixedLocator([2.0**e for e in range(low, high + 1, step)]))
    which.set_major_formatter(ticker.FuncFormatter(lambda v, _: numbers.power_of_two(v)))
    which.set_minor_locator(ticker.NullLocator())


def log_axis(ax: Axes, values: Iterable[float], axis: str = "x") -> None:
    """A log10 scale with a few readable ticks: decades, or round numbers within a decade or two."""
    finite = [v for v in values if numbers.is_finite(v) and v > 0]
    low, high = min(finite), max(finite)
    getattr(ax, f"set_{axis}scale")("log")
    which = ax.xaxis if axis == "x" else ax.yaxis
    which.set_minor_locator(ticker.NullLocator())
    decades = math.log10(high / low)
    if decades < 0.6:
        which.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    else:
        which.set_major_locator(
            ticker.LogLocator(subs=(1, 2, 5) if decades < 2 else (1, 3) if decades < 3.5 else (1,))
        )
    which.set_major_formatter(ticker.FuncFormatter(lambda v, _: numbers.tick(v)))


# --- rows and cells ----------------------------------------------------------------------------------------


def need(frame: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Raises MissingDataError naming the columns that this figure reads and the frame lacks."""
    lacking = [c for c in columns if c not in frame.columns or not frame[c].notna().any()]
    if frame.empty:
        raise MissingDataError(f"no {what}")
    if lacking:
        raise MissingDataError(f"{what} without {', '.join(lacking)}")


def natural_key(value: Any) -> tuple[Any, ...]:
    """Sorts d8 before d24 and 64 before 128."""
    if numbers.is_finite(value):
        return (0, float(value), "")
    parts = re.split(r"(\d+(?:\.\d+)?)", str(value))
    return (1, *((1, float(p), "") if i % 2 else (0, 0.0, p) for i, p in enumerate(parts)))


def axis_of(frames: Frames, options: Mapping[str, Any], wanted: Sequence[str] = ("size", "width")) -> str:
    """The axis that a figure runs over: its option, else the suite's first, else a usual name."""
    chosen = options.get("axis")
    for name in [chosen] if chosen else [*frames.axes, *wanted]:
        if name in frames.trials.columns and frames.trials[name].notna().any():
            return str(name)
    raise MissingDataError(f"no trials with the axis {chosen!r}" if chosen else "no trials with a size axis")


def ordered(frame: pd.DataFrame, axis: str) -> list[Any]:
    """The axis' values: by mean parameter count where known, else in natural order."""
    present = frame[frame[axis].notna()]
    values = sorted(present[axis].unique(), key=natural_key)
    if "parameters" in present.columns and not all(numbers.is_finite(v) for v in values):
        means = present.groupby(axis, observed=True)["parameters"].mean()
        if means.notna().all():
            values.sort(key=lambda v: float(means[v]))
    return values


def arms_of(frames: Frames, frame: pd.DataFrame, options: Mapping[str, Any]) -> list[str]:
    """Arms to draw, in the report's order; the option ``arms`` chooses among them."""
    present = set(frame["arm"])
    chosen = options.get("arms")
    found = [a for a in frames.palette.arms if a in present and (not chosen or a in chosen)]
    if not found:
        raise MissingDataError(f"no trials of the arms {list(chosen)}" if chosen else "no trials")
    return found


def with_role(trials: pd.DataFrame, role: str) -> pd.DataFrame:
    """Trials of a role that ran to an end, good or bad."""
    found = trials[(trials["role"] == role) & trials["status"].isin(["completed", "diverged"])]
    if found.empty:
        raise MissingDataError(f"no finished {role} trials")
    return found


def lr_column(trials: pd.DataFrame, options: Mapping[str, Any]) -> str:
    """The column of the learning rate: the option ``lr``, else optimizer.lr, else the first that ends so."""
    chosen = options.get("lr")
    if chosen:
        need(trials, [chosen], "trials")
        return str(chosen)
    found = [c for c in trials.columns if str(c).endswith(".lr") and trials[c].notna().any()]
    if not found:
        raise MissingDataError("no trials with a learning rate")
    return "optimizer.lr" if "optimizer.lr" in found else found[0]


def at_best_lr(trials: pd.DataFrame, cell: Sequence[str], metric: str) -> pd.DataFrame:
    """Of a sweep's trials, those at each cell's learning rate of least mean metric; others unchanged."""
    column = next((c for c in ("optimizer.lr", *trials.columns) if str(c).endswith(".lr") and c in trials), None)
    if column is None or metric not in trials:
        return trials
    keys = list(cell)
    counts = trials.groupby(keys, observed=True)[column].nunique()
    if counts.max() <= 1:
        return trials
    cells = cell_means(trials, [*keys, column], metric)
    cells = cells[cells["num_missing"] == 0].dropna(subset=["mean"])
    best = cells.loc[cells.groupby(keys, observed=True)["mean"].idxmin(), [*keys, column]]
    return trials.merge(best, on=[*keys, column])


def half_width(sd: Any, n: Any) -> np.ndarray:
    """Half-width of the 95 % t interval of a mean over n seeds; NaN below two."""
    n = np.asarray(n, dtype=float)
    df = np.where(n > 1, n - 1, np.nan)
    return stats.t.ppf(0.975, df) * np.asarray(sd, dtype=float) / np.sqrt(n)


def cell_means(frame: pd.DataFrame, by: Sequence[str], metric: str) -> pd.DataFrame:
    """One row a cell: mean, sd, n, half_width_95, num_missing. A cell that lost a seed has no mean.

    A mean over survivors would flatter whatever diverges, so it is refused (NaN).
    """
    groups = frame.groupby(list(by), sort=False, observed=True, dropna=False)
    out = groups[metric].agg(mean="mean", sd="std", n="count", num_trials="size").reset_index()
    out["num_missing"] = out["num_trials"] - out["n"]
    out.loc[out["num_missing"] > 0, ["mean", "sd"]] = np.nan
    out["half_width_95"] = half_width(out["sd"], out["n"])
    return out.drop(columns="num_trials")


def estimator_name(claim: Mapping[str, Any]) -> str:
    """The name of a claim's estimator, given bare or with its arguments."""
    estimator = claim.get("estimator")
    return str(estimator.get("name") if isinstance(estimator, Mapping) else estimator)


def listed(words: Iterable[Any], most: int = 12) -> str:
    """``a, b and c``; long lists are cut with their number."""
    items = [str(w) for w in words]
    if len(items) > most:
        items = [*items[:most], f"{len(items) - most} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def step_axis(ax: Axes) -> None:
    """A horizontal axis of whole steps."""
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))


def axis_text(axis: str, value: Any) -> str:
    """``width 64`` for numbers, ``d24`` for names."""
    return f"{labels.name(axis)} {numbers.plain(value)}" if numbers.is_finite(value) else str(value)


__all__ = [
    "MUTED",
    "PAPER",
    "Drawing",
    "Frames",
    "MissingDataError",
    "Sheet",
    "arms_of",
    "at_best_lr",
    "axis_of",
    "axis_text",
    "cell_means",
    "draw",
    "estimator_name",
    "half_width",
    "kind",
    "kinds",
    "listed",
    "log2_axis",
    "log_axis",
    "lr_column",
    "natural_key",
    "need",
    "ordered",
    "relaid",
    "step_axis",
    "with_role",
]

"""The look of every figure: seaborn's ticks style with the report's ink, and axes that read well."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import matplotlib

matplotlib.use("Agg")

import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes

from harness import numbers
from harness.report import labels
from harness.report.colours import GRID, INK, MUTED

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


def step_axis(ax: Axes) -> None:
    """A horizontal axis of whole steps."""
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))


def axis_text(axis: str, value: Any) -> str:
    """``width 64`` for numbers, ``d24`` for names."""
    return f"{labels.name(axis)} {numbers.plain(value)}" if numbers.is_finite(value) else str(value)

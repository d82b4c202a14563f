"""A piece of text whose characters are coloured by what a trial did with each."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib
import matplotlib.cm
import matplotlib.patches
from matplotlib.colors import Normalize

from harness import numbers
from harness.report.figures.layout import Sheet
from harness.report.figures.record_tables import first_seed, table_rows
from harness.report.figures.registry import Drawing, kind
from harness.report.frames import Frames

COLUMNS = 40
"""Characters a line."""
SHOWN = {"\n": "\u21b5", "\t": "\u2192", " ": "\u00b7"}
"""Characters that would not be seen."""


@kind("coloured_text")
def coloured_text(
    frames: Frames,
    *,
    table: str,
    value: str,
    text: str = "text",
    place: str = "place",
    where: dict[str, Any] | None = None,
    axis: str | None = None,
    cell: Any = None,
    arms: list[str] | None = None,
    caption: str | None = None,
) -> Drawing:
    """The first tokens of held-out text, each coloured by a column of a table; the first seed of each arm."""
    rows, words = table_rows(frames, table, [place, text, value], where=where, axis=axis, cell=cell, arms=arms)
    data, seed = first_seed(rows, [place, text, value])
    data = data.sort_values(["arm", place], ignore_index=True)
    shown = frames.arms(data, arms)
    most = int(data.groupby("arm", observed=True)[place].count().max())
    lines = -(-most // COLUMNS)
    sheet = Sheet(len(shown), size=(3.9, 0.6 + 0.19 * lines), share_y=False, most=2)
    scale = Normalize(float(data[value].min()), float(data[value].max()))
    colours = matplotlib.colormaps["viridis"]
    said = []
    for ax, arm in zip(sheet.axes, shown, strict=True):
        one = data[data["arm"] == arm]
        for i, (token, number) in enumerate(zip(one[text], one[value], strict=True)):
            down, across = divmod(i, COLUMNS)
            colour = colours(scale(number))
            light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 0.5
            ax.text(
                across + 0.5, down + 0.5, SHOWN.get(token, token if token.isprintable() else "\ufffd"),
                ha="center", va="center", fontsize=7.5, family="monospace", color="black" if light else "white",
            )  # fmt: skip
            ax.add_patch(matplotlib.patches.Rectangle((across, down), 1, 1, facecolor=colour, linewidth=0))
        ax.set(xlim=(0, COLUMNS), ylim=(lines, 0), title=arm)
        ax.set_axis_off()
        ends = one.sort_values(value)
        said.append(
            f"{arm}: least {numbers.plain(ends[value].iloc[0], 2)} at {ends[text].iloc[0]!r}, most "
            f"{numbers.plain(ends[value].iloc[-1], 2)} at {ends[text].iloc[-1]!r}"
        )
    label = frames.labels.label(value)
    bar = matplotlib.cm.ScalarMappable(scale, colours)
    sheet.add_bar(bar, label)
    start = textwrap.shorten("".join(data[data["arm"] == shown[0]][text].head(200)), 120)
    return Drawing(
        sheet, data, f"Heat map of a text, coloured by {label}{words}. It begins: {start} {'; '.join(said)}.",
        caption or f"Held-out text, seed {seed} alone{words}; \u21b5 is a line's end, \u00b7 a space.",
    )  # fmt: skip

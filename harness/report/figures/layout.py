"""Panels on a sheet: laid out wide for a page and, the same figure again, one under the other for a phone.

Margins come from the lengths of the texts: measuring every text, as matplotlib's own layouts do, took a third of a
report's time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PANEL = (3.7, 2.9)
"""Usual width and height of a panel, inches: about 355 pixels on a page, a phone's width."""
LETTER = 0.078
"""Inches per letter of a tick label, wide letters allowed for."""


class Sheet:
    """A figure with its panels, its legend and the text on its left."""

    def __init__(
        self, count: int, *, share_y: bool = True, size: tuple[float, float] = PANEL, most: int = 3
    ) -> None:
        """``count`` panels, at most ``most`` beside each other; with ``share_y`` they have one vertical scale."""
        self.figure = Figure(figsize=size)
        self.axes: list[Axes] = []
        for index in range(count):
            shared = self.axes[0] if share_y and index else None
            self.axes.append(self.figure.add_subplot(1, count, index + 1, sharey=shared))
        self.share_y, self.size, self.most = share_y, size, 2 if count == 4 and most == 3 else most
        self.handles: list[Any] = []
        """Legend entries."""
        self.left_text = ""
        """The vertical axes' label, on the leftmost panels only."""
        self.bar: Axes | None = None
        """Colour bar at the right."""
        self._legend: Any = None

    def add_bar(self, mappable: Any, text: str) -> None:
        """A colour bar for all panels."""
        self.bar = self.figure.add_axes((0.9, 0.1, 0.02, 0.8))
        bar = self.figure.colorbar(mappable, cax=self.bar)
        if bar.solids is not None:
            bar.solids.set_rasterized(True)
        bar.outline.set_visible(False)
        bar.set_label(text)

    def arrange(self, columns: int | None = None) -> None:
        """Places everything, with at most so many panels beside each other; may be called again."""
        count = len(self.axes)
        across = min(count, self.most, columns or self.most)
        down = math.ceil(count / across)
        width, height = self.size
        if columns == 1 and width > PANEL[0]:
            width, height = PANEL[0], height * min(1.0, 1.15 * PANEL[0] / width)
        firsts = self.axes[::across]
        left = max(_tick_width(a) for a in firsts) + (0.32 if self.left_text else 0.14)
        # Long names on the left take no room from the panels, except on a phone.
        total = width * across + (max(0.0, left - 1.0) if columns != 1 else 0.0)
        top = self._place_legend(total)
        tall = top + height * down
        self.figure.set_size_inches(total, tall)

        inner = any(a.get_title(loc="left") for a in self.axes)
        head, foot = (0.28 if inner else 0.1), (0.5 if any(a.get_xlabel() for a in self.axes) else 0.28)
        gap = 0.14 if self.share_y else max(_tick_width(a) for a in self.axes) + 0.2
        right = 0.16 + (0.78 if self.bar else 0.0)
        panel = (total - left - right - gap * (across - 1)) / across
        for index, ax in enumerate(self.axes):
            row, column = divmod(index, across)
            bottom = tall - top - height * (row + 1) + foot
            box = (left + column * (panel + gap), bottom, panel, height - head - foot)
            ax.set_position((box[0] / total, box[1] / tall, box[2] / total, box[3] / tall))
            # A shared scale shows its numbers once, on the left.
            ax.tick_params(labelleft=column == 0 or not self.share_y)
            ax.set_ylabel(self.left_text if column == 0 else "")
        if self.bar:
            self.bar.set_position((1 - 0.8 / total, foot / tall, 0.12 / total, (tall - top - head - foot) / tall))

    def _place_legend(self, total: float) -> float:
        """Draws the legend anew in as many columns as fit; returns its height in inches."""
        if self._legend is not None:
            self._legend.remove()
            self._legend = None
        if not self.handles:
            return 0.0
        lengths = [len(str(h.get_label())) for h in self.handles]

        def inches(columns: int) -> float:
            return sum(0.48 + 0.085 * max(part) for part in np.array_split(lengths, columns))

        columns = next((n for n in range(len(lengths), 1, -1) if inches(n) <= total - 0.1), 1)
        self._legend = self.figure.legend(
            handles=self.handles,
            loc="upper left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=columns,
            borderaxespad=0.1,
            columnspacing=1.2,
            handletextpad=0.5,
        )
        return 0.12 + 0.19 * math.ceil(len(lengths) / columns)


def _tick_width(ax: Axes) -> float:
    """Inches that the vertical tick labels take."""
    axis = ax.yaxis
    low, high = sorted(ax.get_ylim())
    # A little beyond the limits too: matplotlib shows a tick that lies on them.
    places = [p for p in axis.get_major_locator()() if low - 1e-9 <= p <= high + 1e-9]
    texts: Sequence[str] = axis.get_major_formatter().format_ticks(places)
    return LETTER * max((len(t) for t in texts), default=0) + 0.06

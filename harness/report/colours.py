"""Colours: one per arm in every figure, lightness for size, and each colour's counterpart on a dark page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

INK, MUTED, GRID, PAPER = "#20242c", "#5b6270", "#e2e5ea", "#ffffff"
_FIXED_DARK = {INK: "#e8eaee", MUTED: "#a3abb9", GRID: "#2f3540", PAPER: "#161a21"}

# Okabe and Ito's hues (safe for colour-blind readers), darkened until lines read on white.
_HUES = ("#0072b2", "#d55e00", "#00896a", "#b0519a", "#b27d00", "#3a97cf", "#5d6675", "#8f3b2e")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
"""Shape per arm, so that nothing rests on colour alone."""


@dataclass(frozen=True)
class Palette:
    """Colour and marker of every arm of a report: the same in all figures, distinct within a suite."""

    arms: tuple[str, ...]
    """All arms, in the order of first appearance."""
    places: tuple[int, ...] = ()
    """Index of each arm's hue; by default its place among the arms."""

    @classmethod
    def of(cls, groups: Iterable[Iterable[str]]) -> Palette:
        """Hues for suites' arms: an arm keeps the hue it first got; a new one takes the first free in its suite."""
        found: dict[str, int] = {}
        for group in groups:
            names = list(dict.fromkeys(group))
            for name in names:
                taken = {found[n] for n in names if n in found}
                found.setdefault(name, next(i for i in range(len(found) + 1) if i not in taken))
        return cls(tuple(found), tuple(found.values()))

    def colour(self, arm: str) -> str:
        """The arm's hex colour."""
        return _HUES[self._index(arm) % len(_HUES)]

    def marker(self, arm: str) -> str:
        """The arm's matplotlib marker; where colours come round again, it is another one."""
        index = self._index(arm)
        return MARKERS[(index + index // len(_HUES)) % len(MARKERS)]

    def ramp(self, arm: str | None, count: int) -> list[str]:
        """``count`` shades from light (smallest size) to dark (largest); of grey if arm is None."""
        base = MUTED if arm is None else self.colour(arm)
        _, a, b = _to_oklab(base)
        ends = (0.74, 0.40) if count > 1 else (0.55, 0.55)
        return [_to_hex(np.array([L, a, b])) for L in np.linspace(*ends, count)]

    def _index(self, arm: str) -> int:
        place = self.arms.index(arm) if arm in self.arms else len(self.arms)
        return self.places[place] if place < len(self.places) else place


@cache
def on_dark(colour: str) -> str:
    """The counterpart of a hex colour on a dark page: same hue, lightness mirrored."""
    colour = colour.lower()
    if colour in _FIXED_DARK:
        return _FIXED_DARK[colour]
    L, a, b = _to_oklab(colour)
    return _to_hex(np.array([float(np.clip(1.24 - L, 0.46, 0.92)), a, b]))


def contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two hex colours (1 to 21)."""
    a, b = sorted((_luminance(one), _luminance(other)))
    return (b + 0.05) / (a + 0.05)


def _luminance(colour: str) -> float:
    return float(_linear(colour) @ np.array([0.2126, 0.7152, 0.0722]))


def _linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


# Björn Ottosson's OKLab: linear sRGB -> cone response -> cube root -> (L, a, b).
_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _to_oklab(colour: str) -> np.ndarray:
    return _LAB @ np.cbrt(_LMS @ _linear(colour))


def _to_hex(lab: np.ndarray) -> str:
    # Outside sRGB, chroma gives way before lightness does.
    for chroma in np.linspace(1, 0, 21):
        rgb = np.linalg.solve(_LMS, np.linalg.solve(_LAB, lab * [1, chroma, chroma]) ** 3)
        if rgb.min() >= -1e-4 and rgb.max() <= 1 + 1e-4:
            break
    rgb = np.clip(rgb, 0, 1)
    srgb = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(float(c) * 255):02x}" for c in srgb)


def css_variables(colours: Sequence[str]) -> tuple[str, str]:
    """CSS declarations of these colours as ``--c<hex>``: (light, dark)."""
    names = sorted(set(colours))
    light = "".join(f"--c{c[1:]}:{c};" for c in names)
    dark = "".join(f"--c{c[1:]}:{on_dark(c)};" for c in names)
    return light, dark

"""Choosing a learning rate from a tuning curve: a fitted quadratic, kept near the best point that was run.

The argmin of noisy points wins by luck; a quadratic in log2 LR over the points round the minimum averages
that luck away (expected excess loss .0016 nats against .0059 at a seed sd of .025 on an octave grid).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.errors import ClaimError

CLIP_OCTAVES = 0.5
"""How far from the best point that was run the choice may lie."""
QUIET_SD = 0.01
"""Below this seed sd (nats) the curve's asymmetry costs more than noise: three points instead of five."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A chosen learning rate and how it was chosen."""

    log2_lr: float
    """Base-two logarithm of the chosen learning rate."""
    at_edge: Literal["low", "high"] | None
    """The best point is the first or the last that was run: the minimum may lie beyond."""
    regret: float | None
    """Fitted loss at the choice minus the fitted minimum, in units of the loss; None where nothing was fitted."""
    argmin: float
    """log2 LR of the best point that was run; never a result."""
    reason: str
    """One sentence."""


def select(log2_lr: Sequence[float], loss: Sequence[float], *, noise_sd: float) -> Selection:
    """The learning rate that a tuning curve points to.

    ``log2_lr``: distinct values, any order. ``loss``: one value a point, nan or inf where training diverged.
    ``noise_sd``: seed sd of the loss in the same units. The quadratic runs over the five points round the
    minimum (three where ``noise_sd`` < .01) that no divergence separates from it; the choice stays within
    half an octave of the best point and does not move towards a diverged neighbour.
    Raises ClaimError where no point is finite or two points share a learning rate.
    """
    x, y = np.asarray(log2_lr, dtype=float), np.asarray(loss, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or x.size == 0:
        raise ClaimError(f"a tuning curve needs one loss per learning rate, got {x.size} rates and {y.size} losses")
    if len(np.unique(x)) != len(x):
        raise ClaimError("two points of the tuning curve share a learning rate; average their seeds first")
    order = np.argsort(x)
    x, y = x[order], y[order]
    finite = np.isfinite(y)
    if not finite.any():
        raise ClaimError(f"every point of the tuning curve diverged (log2 LR {x[0]:g} to {x[-1]:g}); go lower")
    best = int(np.argmin(np.where(finite, y, np.inf)))
    argmin = float(x[best])
    if best in (0, len(x) - 1):
        edge: Literal["low", "high"] = "low" if best == 0 else "high"
        return Selection(
            log2_lr=argmin,
            at_edge=edge,
            regret=None,
            argmin=argmin,
            reason=f"best point lies on the {edge} edge of the range",
        )
    reach = 1 if noise_sd < QUIET_SD else 2
    low = high = best
    while low > 0 and best - low < reach and finite[low - 1]:
        low -= 1
    while high < len(x) - 1 and high - best < reach and finite[high + 1]:
        high += 1
    if high - low < 2:
        return Selection(
            log2_lr=argmin,
            at_edge=None,
            regret=None,
            argmin=argmin,
            reason="fewer than three finite neighbouring points: best point taken",
        )
    _, b, a = np.polynomial.polynomial.polyfit(x[low : high + 1] - argmin, y[low : high + 1], 2)
    if a <= 0:
        return Selection(
            log2_lr=argmin,
            at_edge=None,
            regret=None,
            argmin=argmin,
            reason="no minimum in the fitted quadratic: best point taken",
        )
    vertex = -b / (2 * a)
    lower = 0.0 if not finite[best - 1] else -CLIP_OCTAVES
    upper = 0.0 if not finite[best + 1] else CLIP_OCTAVES
    shift = float(np.clip(vertex, lower, upper))
    reason = f"minimum of a quadratic in log2 LR over {high - low + 1} points"
    if shift != vertex:
        kept = "kept off its diverged neighbour" if lower == 0 or upper == 0 else "kept within half an octave"
        reason += f", {kept}"
    return Selection(
        log2_lr=argmin + shift, at_edge=None, regret=float(a * (shift - vertex) ** 2), argmin=argmin, reason=reason
    )

"""Looking more than once: three fixed looks with spent alpha, or Stein's two stages for a wanted width.

Stopping "when the interval settles", with a look after every seed, makes 17-19 % false positives at a nominal 5 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from harness.errors import ClaimError

LOOKS: dict[int, float] = {3: 0.010, 5: 0.015, 10: 0.025}
"""Seeds per cell at a look -> two-sided alpha spent there; 5 % in all."""


def alpha_of(look: int) -> float:
    """The alpha of a look. Raises ClaimError for a number of seeds that is no look."""
    if look not in LOOKS:
        raise ClaimError(
            f"{look} seeds is no look; looks are at {', '.join(map(str, LOOKS))} seeds, and stopping is only there"
        )
    return LOOKS[look]


def spent_p(p: float, look: int) -> float:
    """p at a look, on the scale on which 5 % may be compared: before Holm."""
    return min(1.0, p * sum(LOOKS.values()) / alpha_of(look))


def next_look(seeds: int) -> int | None:
    """The next number of seeds at which to look; None after the last."""
    return next((n for n in LOOKS if n > seeds), None)


@dataclass(frozen=True, kw_only=True)
class Stein:
    """A two-stage plan for an interval of a wanted half-width."""

    pairs: int
    """Pairs in all, the first stage's included."""
    sd: float
    """First-stage sd of a difference; the final interval uses it, with the first stage's df."""
    df: float

    def interval(self, mean: float, pairs: int) -> tuple[float, float]:
        """95 % interval round the mean of all pairs."""
        half = float(stats.t.ppf(0.975, self.df)) * self.sd / math.sqrt(pairs)
        return mean - half, mean + half


def stein(sd: float, df: float, half_width: float, first: int) -> Stein:
    """n = ceil((t(.975, df) sd / h)^2) pairs, at least the ``first`` that gave sd and df."""
    if not (sd > 0 and half_width > 0 and df >= 1):
        raise ClaimError(
            f"Stein's rule needs sd > 0, half_width > 0 and df >= 1; got {sd:g}, {half_width:g}, {df:g}"
        )
    return Stein(pairs=max(first, math.ceil((float(stats.t.ppf(0.975, df)) * sd / half_width) ** 2)), sd=sd, df=df)

"""The ancestral sampler's coefficients: linear betas over 1,000 times (2006.11239), respaced to fewer steps.

All of it in Python's floats, with products, quotients and square roots alone: equal bits on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

TIMES = 1000
"""Times of the schedule that denoisers are trained on."""
BETA_FIRST, BETA_LAST = 1e-4, 0.02


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step from x_t to x_{t-1} = data x0_hat + past x_t + noise z (2006.11239, eq. 7)."""

    number: int
    """T for the first step, 1 for the last."""
    time: int
    """Where the respaced step lies among the 1,000 times, from 0."""
    alpha_bar: float
    data: float
    past: float
    noise: float
    """Standard deviation of what is added; 0 in the last step, and along the probability flow."""


@cache
def alpha_bars() -> tuple[float, ...]:
    """Share of the signal's variance at each of the 1,000 times."""
    out, product = [], 1.0
    for i in range(TIMES):
        product *= 1.0 - (BETA_FIRST + (BETA_LAST - BETA_FIRST) * i / (TIMES - 1))
        out.append(product)
    return tuple(out)


@cache
def steps(count: int) -> tuple[Step, ...]:
    """``count`` ancestral steps spread evenly from time 999 to time 0, in the order in which they are walked."""
    times = [TIMES - 1 - ((TIMES - 1) * i + (count - 1) // 2) // max(count - 1, 1) for i in range(count)]
    return tuple(
        _ancestral(count - i, time, alpha_bars()[times[i + 1]] if i + 1 < count else 1.0)
        for i, time in enumerate(times)
    )


def flow(walked: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same steps along the probability flow: DDIM without noise (2010.02502, eq. 12, sigma 0)."""
    before = [*(s.alpha_bar for s in walked[1:]), 1.0]
    return tuple(_flow(s, b) for s, b in zip(walked, before, strict=False))


def ended(walked: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same steps, the last of which goes all the way to x0_hat."""
    return (*walked[:-1], _flow(walked[-1], 1.0))


def _ancestral(number: int, time: int, before: float) -> Step:
    now = alpha_bars()[time]
    alpha = now / before
    beta = 1.0 - alpha
    return Step(
        number=number,
        time=time,
        alpha_bar=now,
        data=math.sqrt(before) * beta / (1.0 - now),
        past=math.sqrt(alpha) * (1.0 - before) / (1.0 - now),
        noise=math.sqrt(beta * (1.0 - before) / (1.0 - now)),
    )


def _flow(step: Step, before: float) -> Step:
    now = step.alpha_bar
    past = math.sqrt((1.0 - before) / (1.0 - now))
    return replace(step, data=math.sqrt(before) - past * math.sqrt(now), past=past, noise=0.0)

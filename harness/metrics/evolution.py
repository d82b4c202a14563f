"""Diffusion codecs on a Gaussian with independent parts, without a random number: their state evolution.

With the exact denoiser x0_hat_i = w_i x_i, w = sqrt(a) l / (a l + 1 - a), two moments tell all of a walk: p_i =
E[x0_i x_i] and q_i = E[x_i^2]. A step's noise lies b along the residual x0 - x0_hat, whose mean square is D_i =
l - 2 w p + w^2 q in each part, S = sum D; across it the noise has variance c^2 in each direction:

    p <- k p + s (b / sqrt S) (l - w p)
    q <- k^2 q + 2 k s (b / sqrt S) (p - w q) + s^2 ((b^2 / S) D + c^2 (1 - D / S))

with k = data w + past and s = noise, from p = 0, q = 1. Normal codewords have c = 1; rows of P orthogonal
transforms of length N, of which the noise takes equal parts, c^2 = (N - b^2 / P) / (N - 1). A noise that is scaled
to unit variance is multiplied by sqrt(n / (b^2 + (n - 1) c^2)). No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from harness.methods.codec import Choice

NODES = 4000
"""Of the trapezoid rule over projections; its error is below 1e-8."""
FARTHEST = 9.0
"""Standard deviations within which a projection lies."""


class Coefficients(Protocol):
    """A step of a sampler: x_{t-1} = data x0_hat + past x_t + noise z."""

    @property
    def alpha_bar(self) -> float: ...
    @property
    def data(self) -> float: ...
    @property
    def past(self) -> float: ...
    @property
    def noise(self) -> float: ...


def evolved(variances: ArrayLike, walked: Iterable[tuple[Coefficients, Choice | None]]) -> float:
    """Mean square error at the end of a walk. ``variances``: (n,); each step comes with how its noise is chosen.

    A step without a choice takes noise that knows nothing of x0.
    """
    l = np.asarray(variances, dtype=float)
    p, q = np.zeros_like(l), np.ones_like(l)
    for step, choice in walked:
        a = step.alpha_bar
        w = math.sqrt(a) * l / (a * l + 1 - a)
        if step.past == 0:
            # The last step ends at x0_hat.
            return float((l - 2 * w * p + w**2 * q).mean())
        k, s = step.data * w + step.past, step.noise
        residual = l - 2 * w * p + w**2 * q
        if choice is None:
            p, q = k * p, k**2 * q + s**2
            continue
        total = float(residual.sum())
        b, across = _lengths(choice, len(l))
        along = s * b / math.sqrt(total)
        p, q = (
            k * p + along * (l - w * p),
            k**2 * q + 2 * k * along * (p - w * q) + along**2 * residual + s**2 * across * (1 - residual / total),
        )
    return float((l - 2 * p + q).mean())


def _lengths(choice: Choice, n: int) -> tuple[float, float]:
    """(b, c^2) of a step's noise in n dimensions."""
    b, across = shift(choice), 1.0
    if choice.codebook == "hadamard" and n > 1:
        length = 1 << (n - 1).bit_length()
        pages = min(choice.atoms, -(-choice.codewords // length))
        across = (length - b**2 / pages) / (length - 1)
    if choice.scaled:
        scale = n / (b**2 + (n - 1) * across)
        b, across = b * math.sqrt(scale), across * scale
    return b, across


@cache
def shift(choice: Choice) -> float:
    """How far along the residual, in standard deviations, the noise lies that a rule chooses.

    One of K codewords: the mean m_K of the largest of K normals. Signed sums of M: the mean sum of the M largest
    |normals| over sqrt M. Matching pursuit: its greedy mixes of the codewords that come next, at their mean places.
    """
    sums = [top_sum(choice.codewords, m, choice.signed) for m in range(choice.atoms + 1)]
    if choice.signed or choice.atoms == 1:
        return sums[-1] / math.sqrt(choice.atoms)
    value = sums[1]
    levels = (1 << choice.coefficient_bits) - 1
    shares = np.arange(1, levels + 1) / levels
    for before, after in pairwise(sums[1:]):
        value = max(value, float((np.sqrt(shares) * value + np.sqrt(1 - shares) * (after - before)).max()))
    return value


def top_sum(K: int, M: int, absolute: bool) -> float:
    """Mean sum of the M largest of K normals, or of their absolute values.

    A normal is among them if fewer than M others are larger: K int x f(x) P(Binomial(K - 1, 1 - F(x)) < M) dx.
    """
    from scipy import special

    if M == 0:
        return 0.0
    x = np.linspace(0.0 if absolute else -FARTHEST, FARTHEST, NODES + 1)
    density = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    above = special.ndtr(-x)
    if absolute:
        density, above = 2 * density, 2 * above
    among = np.ones_like(x) if M >= K else special.bdtr(M - 1, K - 1, np.minimum(above, 1.0))
    return K * float(np.trapezoid(x * density * among, x))

"""What a map does to numbers, number by number: mean response, best fits of a few shapes, and what none can exceed.

Shapes: N pairs of an input and an output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

SHAPES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "isru": lambda x: x * torch.rsqrt(1 + x * x),
    "erf": torch.erf,
}
"""Name -> f of the fits gain f(slope x) + offset."""
CEILING = "ceiling"
OCTAVES = 8
"""The slope is sought within so many octaves of 1 / RMS of the inputs, either way."""
REFINEMENTS = 24
"""Golden sections: the slope is then known to 2e-5 octaves."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Neighbouring inputs, as many as in every other bin."""

    input: float
    """Their mean."""
    output: float
    """Mean of their outputs."""
    output_sd: float


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A function of the input alone that is nearest to the outputs in mean square."""

    name: str
    r2: float
    """Share of the outputs' variance that it explains."""
    gain: float | None = None
    slope: float | None = None
    """Inside f; of linear, 1."""
    offset: float | None = None


def bins(x_N: Tensor, y_N: Tensor, number: int) -> list[Bin]:
    """Quantile bins of the inputs, from low to high; their sizes differ by one pair at most."""
    order = x_N.argsort(stable=True)
    parts = zip(x_N[order].tensor_split(number), y_N[order].tensor_split(number), strict=True)
    return [
        Bin(input=x.mean().item(), output=y.mean().item(), output_sd=y.std(correction=0).item())
        for x, y in parts
        if len(x)
    ]


def fits(x_N: Tensor, y_N: Tensor, number: int) -> list[Fit]:
    """Best fits, linear first, and last the ceiling: the share that the conditional mean of the output explains.

    The conditional mean is the best fit and, in each of ``number`` quantile bins, a line through what that leaves:
    never below a fit, and too high by chance by about 2 number / N of what is left. Empty where inputs or outputs
    are constant.
    """
    if x_N.std(correction=0) == 0 or y_N.std(correction=0) == 0:
        return []
    found = [_fit("linear", x_N, y_N, lambda x: x, 1.0)]
    means = bins(x_N, y_N, number)
    x_of_bins, y_of_bins = (torch.tensor([getattr(b, k) for b in means]).to(x_N) for k in ("input", "output"))
    around = x_N.square().mean().rsqrt().item()
    for name, f in SHAPES.items():
        coarse = [around * 2.0**i for i in range(-OCTAVES, OCTAVES + 1)]
        start = max(coarse, key=lambda slope: _explained(f(slope * x_of_bins), y_of_bins))
        found.append(_fit(name, x_N, y_N, f, _best_slope(f, x_N, y_N, start)))
    return [*found, Fit(name=CEILING, r2=_ceiling(x_N, y_N, max(found, key=lambda fit: fit.r2), number))]


def _explained(u: Tensor, v: Tensor) -> float:
    """Squared correlation: R^2 of the best line of v in u."""
    u, v = u - u.mean(), v - v.mean()
    both = (u.square().sum() * v.square().sum()).item()
    return (u * v).sum().item() ** 2 / both if both > 0 else 0.0


def _best_slope(f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, start: float) -> float:
    """Golden-section search for the greatest share explained, an octave to either side."""
    golden = (math.sqrt(5) - 1) / 2
    low, high = math.log2(start) - 1, math.log2(start) + 1

    def at(octave: float) -> float:
        return _explained(f(2.0**octave * x), y)

    left, right = high - golden * (high - low), low + golden * (high - low)
    of_left, of_right = at(left), at(right)
    for _ in range(REFINEMENTS):
        if of_left >= of_right:
            high, right, of_right = right, left, of_left
            left = high - golden * (high - low)
            of_left = at(left)
        else:
            low, left, of_left = left, right, of_right
            right = low + golden * (high - low)
            of_right = at(right)
    return 2.0 ** (left if of_left >= of_right else right)


def _fit(name: str, x: Tensor, y: Tensor, f: Callable[[Tensor], Tensor], slope: float) -> Fit:
    u = f(slope * x)
    centred = u - u.mean()
    gain = ((centred * (y - y.mean())).sum() / centred.square().sum()).item()
    return Fit(
        name=name, r2=_explained(u, y), gain=gain, slope=slope, offset=(y.mean() - gain * u.mean()).item()
    )


def _ceiling(x: Tensor, y: Tensor, best: Fit, number: int) -> float:
    f = SHAPES.get(best.name, lambda x: x)
    assert best.slope is not None and best.gain is not None and best.offset is not None
    left = y - best.gain * f(best.slope * x) - best.offset
    order = x.argsort(stable=True)
    unexplained = 0.0
    for u, v in zip(x[order].tensor_split(number), left[order].tensor_split(number), strict=True):
        if len(u):
            rest = (v - v.mean()).square().sum().item()
            unexplained += rest * (1 - _explained(u, v))
    return 1 - unexplained / (y - y.mean()).square().sum().item()

"""Responses: fits find what made the data, and the ceiling is what a function of the input can explain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize

from harness.metrics.response import SHAPES, bins, fits

N = 4096


def pairs(f, noise: float = 0.0, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = scale * torch.randn(N, generator=generator, dtype=torch.float64)
    return x, f(x) + noise * torch.randn(N, generator=generator, dtype=torch.float64)


def by_name(x: torch.Tensor, y: torch.Tensor, number: int = 64):
    return {fit.name: fit for fit in fits(x, y, number)}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 40.0])
@pytest.mark.parametrize("name", SHAPES)
def test_a_fit_finds_the_function_that_made_the_data(name: str, scale: float) -> None:
    slope = 1.5 / scale
    x, y = pairs(lambda x: 2.5 * SHAPES[name](slope * x) - 0.3, scale=scale)
    found = by_name(x, y)
    assert found[name].r2 == pytest.approx(1, abs=1e-9)
    assert found[name].slope == pytest.approx(slope, rel=1e-4)
    assert (found[name].gain, found[name].offset) == pytest.approx((2.5, -0.3), rel=1e-3)
    others = {other for other, fit in found.items() if fit.r2 < 1 - 1e-6}
    assert others == {"linear", *SHAPES} - {name}, "no other shape passes for it"


def test_a_best_fit_is_that_of_a_general_optimiser() -> None:
    x, y = pairs(lambda x: torch.atan(3 * x) + 0.2 * x, noise=0.3)
    for name, f in SHAPES.items():
        def squares(p: np.ndarray, f=f) -> float:
            return float((y - p[0] * f(p[1] * x) - p[2]).square().mean())

        least = min(optimize.minimize(squares, (1, s, 0), method="Nelder-Mead").fun for s in (0.3, 1.0, 3.0))
        assert by_name(x, y)[name].r2 == pytest.approx(1 - least / y.var(correction=0).item(), abs=1e-6)


def test_the_ceiling_is_the_share_that_noise_leaves_and_no_fit_exceeds_it() -> None:
    noise = 0.5
    x, y = pairs(lambda x: torch.sin(2 * x), noise=noise)
    found = by_name(x, y)
    assert all(fit.r2 <= found["ceiling"].r2 for fit in found.values())
    share = 1 - noise**2 / y.var(correction=0).item()
    # Its own chance: 2 x 64 / N of what is left, and a normal's sample variance.
    slack = (1 - share) * (2 * 64 / N + 3 * (2 / N) ** 0.5)
    assert found["ceiling"].r2 == pytest.approx(share, abs=slack)
    assert max(fit.r2 for name, fit in found.items() if name != "ceiling") < share - 0.1


def test_bins_hold_equal_numbers_and_their_means_average_to_the_mean() -> None:
    x, y = pairs(lambda x: x**3)
    found = bins(x, y, 64)
    assert len(found) == 64 and [b.input for b in found] == sorted(b.input for b in found)
    assert np.mean([b.output for b in found]) == pytest.approx(y.mean().item())
    within = np.mean([b.output_sd**2 for b in found])
    between = np.var([b.output for b in found])
    assert within + between == pytest.approx(y.var(correction=0).item())


def test_constants_have_no_fit_and_few_pairs_few_bins() -> None:
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)
    assert fits(x, torch.ones_like(x), 64) == [] == fits(torch.ones_like(x), x, 64)
    assert len(bins(x, x, 64)) == 5
    assert by_name(x, 2 * x)["linear"].r2 == pytest.approx(1)


def test_the_ceiling_follows_what_is_steep_inside_a_bin() -> None:
    x = torch.linspace(-1, 1, 400, dtype=torch.float64)
    assert by_name(x, x.abs(), number=2)["ceiling"].r2 == pytest.approx(1, abs=1e-9)

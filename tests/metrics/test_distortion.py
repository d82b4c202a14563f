"""Bounds on Gaussians: closed forms on equal variances, numerical optima on unequal ones, and their order."""

import math

import numpy as np
import pytest
from scipy import optimize

from harness.errors import HarnessError
from harness.metrics.distortion import (
    decibels,
    diffc_at_bits,
    diffc_bits,
    diffc_distortion,
    realism_distortion,
    shannon_distortion,
)

WHITE = np.full(50, 0.3)
FALLING = 1 / (1 + (np.arange(200) / 5.0) ** 2)
RATES = (1e-3, 0.1, 0.7, 2.0, 5.0)
"""Bits a part."""


@pytest.mark.parametrize("rate", RATES)
def test_equal_variances_have_closed_forms(rate):
    bits = 50 * rate
    e = 2 ** (-2 * rate)
    assert shannon_distortion(WHITE, bits) == pytest.approx(0.3 * e)
    assert realism_distortion(WHITE, bits) == pytest.approx(0.6 * (1 - math.sqrt(1 - e)))
    # On equal variances the probability flow is the best that realism allows, and the mean the best there is.
    assert diffc_at_bits(WHITE, bits, "flow") == pytest.approx(realism_distortion(WHITE, bits))
    assert diffc_at_bits(WHITE, bits, "mean") == pytest.approx(shannon_distortion(WHITE, bits))


def test_without_a_bit_the_mean_is_left_and_realism_costs_it_twice():
    assert shannon_distortion(FALLING, 0) == pytest.approx(FALLING.mean())
    assert realism_distortion(FALLING, 0) == pytest.approx(2 * FALLING.mean())
    assert realism_distortion(FALLING, 1e-9) == pytest.approx(2 * FALLING.mean(), rel=1e-3)


def best_split(variances, bits, distortion):
    """The least mean distortion over all ways to divide the bits, searched for."""
    n = len(variances)
    found = optimize.minimize(
        lambda r: distortion(variances, r).mean(), np.full(n, bits / n), method="SLSQP",
        bounds=[(1e-9, None)] * n, constraints={"type": "eq", "fun": lambda r: r.sum() - bits},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return found.fun


@pytest.mark.parametrize("bits", [0.5, 3.0, 12.0])
def test_unequal_variances_get_the_best_split_of_the_bits(bits):
    variances = np.array([2.0, 0.7, 0.1, 0.01])
    shannon = best_split(variances, bits, lambda l, r: l * 2 ** (-2 * r))
    assert shannon_distortion(variances, bits) == pytest.approx(shannon, rel=1e-4)
    realism = best_split(variances, bits, lambda l, r: 2 * l * (1 - np.sqrt(1 - 2 ** (-2 * r))))
    assert realism_distortion(variances, bits) == pytest.approx(realism, rel=1e-4)


@pytest.mark.parametrize("rate", RATES)
def test_the_bounds_are_bounds(rate):
    bits = rate * len(FALLING)
    shannon, realism = shannon_distortion(FALLING, bits), realism_distortion(FALLING, bits)
    mean, flow, sample = (diffc_at_bits(FALLING, bits, o) for o in ("mean", "flow", "sample"))
    assert shannon <= mean * (1 + 1e-9) and realism <= flow * (1 + 1e-9)
    assert shannon < realism < 2 * shannon * (1 + 1e-9)
    assert mean < flow < sample == pytest.approx(2 * mean)


def test_diffc_at_bits_is_at_the_noise_of_these_bits():
    for alpha_bar in (1e-4, 0.3, 0.999):
        bits = diffc_bits(FALLING, alpha_bar)
        assert bits == pytest.approx(0.5 * np.log2(1 + alpha_bar * FALLING / (1 - alpha_bar)).sum())
        assert diffc_at_bits(FALLING, bits) == pytest.approx(diffc_distortion(FALLING, alpha_bar))


def test_very_low_and_very_high_rates_are_finite_and_fall():
    bits = np.geomspace(1e-8, 1e5, 40)
    for bound in (shannon_distortion, realism_distortion, diffc_at_bits):
        found = np.array([bound(FALLING, b) for b in bits])
        assert np.isfinite(found).all() and (found >= 0).all() and (np.diff(found) <= 1e-12).all()


def test_decibels_are_psnr_in_minus_one_to_one():
    assert decibels([4.0, 0.04]) == pytest.approx([0.0, 20.0])


@pytest.mark.parametrize(("call", "told"), [
    (lambda: shannon_distortion([1.0, 0.0], 1), "variances must be a list of numbers above 0"),
    (lambda: realism_distortion([1.0], -1), "bits must be a number from 0 on, got -1"),
    (lambda: diffc_distortion([1.0], 0.5, "median"), "output 'median' of DiffC; give mean, flow or sample"),
])  # fmt: skip
def test_what_cannot_be_is_refused(call, told):
    with pytest.raises(HarnessError, match=told):
        call()

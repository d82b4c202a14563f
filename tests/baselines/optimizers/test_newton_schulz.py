"""Orthogonalisation against singular values in float64 and the published bounds."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from baselines.optimizers import _newton_schulz
from baselines.optimizers._newton_schulz import (
    COEFFICIENTS,
    newton_schulz_flops,
    orthogonalize,
    overhead,
    polynomial,
    restarts,
)
from tests.baselines.optimizers.toys import relative

# Set -> slope at zero, then (min, max) of the output for singular values from 1e-3, 3e-3, 1e-2 up to 1.
BOUNDS = {
    "keller": (485, (0.471, 1.202), (0.682, 1.202), (0.682, 1.134)),
    "polar_express": (989, (0.859, 1.141), (0.859, 1.141), (0.859, 1.141)),
    "su": (662, (0.612, 1.050), (0.951, 1.050), (0.951, 1.050)),
    "you": (1137, (0.866, 0.999), (0.996, 0.999), (0.996, 0.999)),
    "leloykun": (493, (0.475, 1.145), (0.978, 1.145), (0.978, 1.032)),
    "cans": (1049, (0.884, 1.120), (0.884, 1.120), (0.884, 1.120)),
    "exact": (4096, (1.000, 1.000), (1.000, 1.000), (1.000, 1.000)),
    "keller_then_exact": (79263, (1.000, 1.001), (1.000, 1.001), (1.000, 1.001)),
}
SHAPES = [(24, 24), (16, 64), (64, 16), (40, 48)]
BF16_NOISE = dict.fromkeys(BOUNDS, 0.02) | {"cans": 0.07}
"""Slack of the bounds in bfloat16; CANS's first step cancels more (8.5 - 25.1 + 18.6)."""


def with_singular_values(s: torch.Tensor, rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """A (rows, columns) float64 matrix with these singular values and random singular vectors."""
    generator = torch.Generator().manual_seed(seed)
    k = len(s)
    U = torch.linalg.qr(torch.randn(rows, k, generator=generator, dtype=torch.float64)).Q
    V = torch.linalg.qr(torch.randn(columns, k, generator=generator, dtype=torch.float64)).Q
    return (U * s) @ V.T


def exact(X: torch.Tensor, name: str, steps: int | None = None) -> torch.Tensor:
    """The iteration's result by singular value decomposition in float64."""
    chosen = COEFFICIENTS[name]
    U, s, Vh = torch.linalg.svd(X.double(), full_matrices=False)
    s = polynomial(s / (s.norm() * chosen.norm_factor), chosen.schedule(steps))
    return (U * s) @ Vh


def test_every_set_has_published_bounds():
    assert set(BOUNDS) == set(COEFFICIENTS)


@pytest.mark.parametrize("name", BOUNDS)
def test_scalar_polynomial_stays_in_the_published_bounds(name):
    slope, *ranges = BOUNDS[name]
    schedule = COEFFICIENTS[name].schedule()
    assert math.prod(a for a, _, _ in schedule) == pytest.approx(slope, abs=0.5)
    for low, (least, most) in zip((1e-3, 3e-3, 1e-2), ranges, strict=True):
        s = torch.logspace(math.log10(low), 0, 100_001, dtype=torch.float64)
        out = polynomial(s, schedule)
        assert out.min().item() == pytest.approx(least, abs=1e-3)
        assert out.max().item() == pytest.approx(most, abs=1e-3)


@pytest.mark.parametrize("name", BOUNDS)
def test_a_rank_one_matrix_enters_at_its_norm_over_the_sets_own_factor(name):
    X = torch.outer(torch.arange(1.0, 9.0), torch.arange(1.0, 13.0))
    s = 1 / (1.02 if name == "polar_express" else 1.0)
    for a, b, c in COEFFICIENTS[name].triples:
        s = a * s + b * s**3 + c * s**5
    out = orthogonalize(X, COEFFICIENTS[name], precision="float32")
    assert out.norm().item() == pytest.approx(s, abs=2e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BOUNDS)
def test_output_singular_values_are_in_bounds_in_bfloat16(name, shape):
    k = min(shape)
    # Least singular value over Frobenius norm, after the set's own normalisation, just above 1e-2.
    s = torch.linspace(1.0, 0.08, k, dtype=torch.float64)
    normalised = s / (s.norm() * COEFFICIENTS[name].norm_factor)
    assert normalised.min() > 1e-2
    least, most = BOUNDS[name][3]
    X = with_singular_values(s, *shape).float()
    out = torch.linalg.svdvals(orthogonalize(X, COEFFICIENTS[name]).double())
    assert out.min() >= least - BF16_NOISE[name]
    assert out.max() <= most + BF16_NOISE[name]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BOUNDS)
def test_float32_equals_the_polynomial_of_singular_values(name, shape):
    s = torch.logspace(0, -2, min(shape), dtype=torch.float64)
    X = with_singular_values(s, *shape)
    out = orthogonalize(X.float(), COEFFICIENTS[name], precision="float32")
    assert out.dtype == torch.float32
    assert relative(out, exact(X, name)) < 2e-3


@pytest.mark.parametrize("name", ["keller", "polar_express", "exact"])
@pytest.mark.parametrize("decay", [1.0, 2.0])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_steep_spectra_of_wide_matrices_do_not_blow_up(name, decay, precision):
    s = torch.arange(1, 65, dtype=torch.float64) ** -decay
    X = with_singular_values(s, 64, 256).float()
    out = torch.linalg.svdvals(orthogonalize(X, COEFFICIENTS[name], precision=precision).double())
    assert out.max() < 1.25


def test_without_restarts_bfloat16_would_blow_up(monkeypatch):
    """Why ``restarts`` forms the Gram matrix anew each step: the shortcut is unusable."""
    X = with_singular_values(torch.arange(1, 65, dtype=torch.float64) ** -2.0, 64, 256).float()
    monkeypatch.setattr(_newton_schulz, "NOISE", math.inf)
    out = orthogonalize(X, COEFFICIENTS["keller"])
    assert out.double().norm() > 1000


def test_restarts_follow_precision_and_shape():
    schedule = COEFFICIENTS["keller"].schedule()
    assert restarts(schedule, "bfloat16", 64, 256) == (1, 1, 1, 1, 1)
    assert restarts(schedule, "float32", 64, 256) == restarts(schedule, "float32", 256, 64) == (5,)
    assert restarts(schedule, "float32", 64, 64) == (1, 1, 1, 1, 1)
    long = restarts(COEFFICIENTS["exact"].schedule(), "float32", 64, 256)
    assert sum(long) == 12 and len(long) > 1


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_batched_equals_one_by_one(shape, precision):
    X = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    stacked = orthogonalize(X, COEFFICIENTS["keller"], precision=precision)
    assert stacked.shape == X.shape
    single = torch.stack([orthogonalize(x, COEFFICIENTS["keller"], precision=precision) for x in X.flatten(0, 1)])
    assert relative(stacked.flatten(0, 1), single) < (2e-2 if precision == "bfloat16" else 1e-5)


@pytest.mark.parametrize("shape", [(13, 13), (12, 30), (30, 12)])
def test_symmetric_strips_equal_plain_products(shape, monkeypatch):
    X = torch.randn(2, *shape, generator=torch.Generator().manual_seed(2))
    plain = orthogonalize(X, COEFFICIENTS["polar_express"])
    monkeypatch.setattr(_newton_schulz, "STRIPS", {"cpu": (8, 4)})
    assert relative(orthogonalize(X, COEFFICIENTS["polar_express"]), plain) < 2e-2


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_transposing_the_input_transposes_the_output(precision):
    X = torch.randn(20, 50, generator=torch.Generator().manual_seed(3))
    wide = orthogonalize(X, COEFFICIENTS["keller"], precision=precision)
    tall = orthogonalize(X.T.contiguous(), COEFFICIENTS["keller"], precision=precision)
    assert relative(tall.T, wide) < (2e-2 if precision == "bfloat16" else 1e-5)


def test_scale_of_the_input_does_not_matter():
    X = torch.randn(16, 32, generator=torch.Generator().manual_seed(4))
    out = orthogonalize(X, COEFFICIENTS["keller"])
    for power in (-10, 7, 30):
        assert torch.equal(orthogonalize(X * 2.0**power, COEFFICIENTS["keller"]), out)


def test_zero_stays_zero_and_the_input_is_left_alone():
    X = torch.zeros(2, 8, 8)
    X[1] = torch.randn(8, 8, generator=torch.Generator().manual_seed(5))
    before = X.clone()
    out = orthogonalize(X, COEFFICIENTS["keller"])
    assert torch.equal(X, before)
    assert torch.equal(out[0], torch.zeros(8, 8, dtype=torch.bfloat16))
    assert out[1].isfinite().all()
    aliased = X.bfloat16()
    kept = aliased.clone()
    orthogonalize(aliased, COEFFICIENTS["keller"])
    assert torch.equal(aliased, kept)


def test_more_keller_steps_do_not_converge_to_one():
    s = polynomial(torch.linspace(0.01, 1, 1001, dtype=torch.float64), COEFFICIENTS["keller"].schedule(10))
    assert s.min().item() == pytest.approx(0.682, abs=1e-3)
    assert s.max().item() == pytest.approx(1.134, abs=1e-3)


def test_a_set_of_its_own_triples_takes_no_other_number_of_steps():
    assert len(COEFFICIENTS["polar_express"].schedule(5)) == 5
    with pytest.raises(ValueError, match="has 5 steps, not 6"):
        COEFFICIENTS["polar_express"].schedule(6)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["keller", "keller_then_exact"])
def test_flops_equal_torchs_counter(name, shape, precision):
    X = torch.randn(3, *shape, generator=torch.Generator().manual_seed(6))
    with FlopCounterMode(display=False) as counter:
        orthogonalize(X, COEFFICIENTS[name], precision=precision)
    formula = 3 * newton_schulz_flops(*shape, COEFFICIENTS[name].schedule(), precision)
    assert counter.get_total_flops() == formula


def test_flops_of_the_plain_iteration_and_the_overhead_bound():
    schedule = COEFFICIENTS["keller"].schedule()
    assert newton_schulz_flops(768, 3072, schedule) == 5 * (4 * 768**2 * 3072 + 2 * 768**3)
    assert overhead(768, 768, 524_288) == pytest.approx(5 * 768 / 524_288)
    for shape in ((64, 256), (256, 64), (100, 101)):
        assert overhead(*shape, tokens=4096) < 5 * min(shape) / 4096
        direct = newton_schulz_flops(*shape, schedule) / (6 * shape[0] * shape[1] * 4096)
        assert overhead(*shape, tokens=4096) == pytest.approx(direct)

"""Fast paths against the float64 SVD, and the Gaussian limits against their published values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.errors import HarnessError, UnknownNameError
from harness.methods.construct import build
from harness.metrics import spectra
from harness.metrics.marchenko_pastur import gaussian_limit


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_spectrum(s: Tensor, rows: int, columns: int) -> Tensor:
    left = torch.linalg.qr(normals(rows, len(s), seed=1))[0]
    right = torch.linalg.qr(normals(columns, len(s), seed=2))[0]
    return left @ torch.diag(s) @ right.T


EXAMPLES = {
    "square": normals(96, 96),
    "wide": normals(3, 40, 160),
    "tall": normals(2, 2, 160, 40),
    "slow decay": with_spectrum(1 / torch.arange(1.0, 65, dtype=torch.float64), 64, 80),
    "geometric": with_spectrum(0.8 ** torch.arange(64, dtype=torch.float64), 80, 64),
    "rank 3": with_spectrum(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64), 50, 60),
    "identity": torch.eye(33, dtype=torch.float64),
    "orthogonal": torch.linalg.qr(normals(48, 48))[0],
    "row": normals(1, 20),
    "column": normals(20, 1),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_fast_paths_agree_with_the_svd(name):
    W = EXAMPLES[name]
    s = torch.linalg.svdvals(W)
    shape = (W.shape[-2], W.shape[-1])
    torch.testing.assert_close(spectra.singular_values(W, "svd"), s, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(spectra.singular_values(W, "gram"), s, rtol=1e-7, atol=1e-6)
    for label in ("participation_ratio", "stable_rank"):
        reference = build("rank", {"name": label})(s, shape)
        tolerance = 1e-9 if label == "participation_ratio" else 3e-3
        torch.testing.assert_close(spectra.FAST[label](W), reference, rtol=tolerance, atol=0.0)
    # All steps: exact.
    torch.testing.assert_close(spectra.spectral_norm(W, 200), s[..., 0], rtol=1e-9, atol=0)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_entropy_of_a_low_rank_float32_matrix_survives_the_gram_path(gamma):
    """A float32 Gram matrix gets this wrong; the float64 one must not."""
    W = with_spectrum(torch.linspace(1, 0.5, 32, dtype=torch.float64), 256, 256).float()
    rank = build("rank", {"name": "entropy_rank", "gamma": gamma})
    exact, gram = (float(rank(spectra.singular_values(W, path), W.shape)) for path in ("svd", "gram"))
    assert gram == pytest.approx(exact, rel=1e-5)
    in_float32 = torch.linalg.eigvalsh(W @ W.T).clamp_min(0).sqrt().flip(-1)
    if gamma == 1:
        assert float(rank(in_float32, W.shape)) > exact * 1.002


def test_error_of_lanczos_on_a_gaussian_matrix_without_a_gap():
    W = normals(256, 256)
    exact = float(torch.linalg.matrix_norm(W, 2))
    errors = [1 - float(spectra.spectral_norm(W, steps)) / exact for steps in (5, 12, 24, 40)]
    assert errors == sorted(errors, reverse=True)
    assert -1e-12 < errors[2] < 2e-3 and errors[3] < 1e-4


def test_zero_matrices_have_rank_0_on_every_path():
    W = torch.zeros(2, 5, 7)
    for fast in (False, True):
        labels = ["participation_ratio", "stable_rank"]
        values = spectra.ranks({n: build("rank", {"name": n}) for n in labels}, W, fast=fast)
        assert all((v == 0).all() for v in values.values())
    assert (spectra.spectral_norm(W) == 0).all() and (spectra.singular_values(W) == 0).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_matrix_with_nan_or_infinity_gives_nan_and_leaves_its_neighbours_alone(bad):
    W = normals(3, 6, 8)
    clean = {k: f(W.clone()) for k, f in spectra.FAST.items()} | {"s": spectra.singular_values(W.clone())}
    W[1, 2, 3] = bad
    dirty = {k: f(W) for k, f in spectra.FAST.items()} | {"s": spectra.singular_values(W)}
    for key, value in dirty.items():
        assert value[1].isnan().all(), key
        torch.testing.assert_close(value[[0, 2]], clean[key][[0, 2]], msg=key)


@pytest.mark.parametrize("scale", [1e-170, 1e170])
def test_extreme_scales_neither_overflow_nor_vanish(scale):
    W = normals(12, 20)
    torch.testing.assert_close(spectra.singular_values(W * scale) / scale, spectra.singular_values(W))
    for f in spectra.FAST.values():
        torch.testing.assert_close(f(W * scale), f(W))


def test_half_precision_is_converted_exactly():
    W = normals(16, 24).to(torch.bfloat16)
    torch.testing.assert_close(spectra.singular_values(W, "svd"), torch.linalg.svdvals(W.double()))


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        (torch.ones(5), r"got shape \(5,\); a vector"),
        (torch.ones(2, 3, dtype=torch.int64), "real floating-point matrices, got torch.int64"),
        (torch.ones(2, 2, dtype=torch.complex64), "got torch.complex64"),
        (torch.ones(2, 0), "empty matrices"),
    ],
)
def test_what_is_no_matrix_is_refused(matrices, message):
    for call in (spectra.singular_values, spectra.spectral_norm, *spectra.FAST.values()):
        with pytest.raises(HarnessError, match=message):
            call(matrices)


def test_nothing_here_touches_the_global_random_state():
    before = torch.get_rng_state()
    spectra.spectral_norm(EXAMPLES["square"])
    assert torch.equal(before, torch.get_rng_state())


# q -> nuclear/spectral, stable, (nuclear/Frobenius)^2, participation, exp H_1, exp H_2, as shares of n.
LIMITS = {
    1: (4 / (3 * math.pi), 0.25, (8 / (3 * math.pi)) ** 2, 0.5, 0.8050, math.exp(-0.5)),
    0.5: (0.5464, 0.3431, 0.8701, 2 / 3, 0.9261, math.exp(-0.25)),
    0.25: (0.6451, 4 / 9, 0.9364, 0.8, 0.9662, math.exp(-0.125)),
    0.125: (0.7271, 0.5458, 0.9685, 8 / 9, 0.9838, math.exp(-0.0625)),
}


@pytest.mark.parametrize("q", LIMITS)
def test_marchenko_pastur_values(q):
    n = 64
    shape = (n, int(n / q))
    names = ["nuclear_ratio", "stable_rank", "nuclear_over_frobenius", "participation_ratio", "entropy_rank"]
    got = [gaussian_limit(name, *shape) / n for name in names]
    got.append(gaussian_limit("entropy_rank", *shape, gamma=2.0) / n)
    assert got == pytest.approx(LIMITS[q], abs=6e-5)
    assert gaussian_limit("svd_entropy", *shape) == pytest.approx(1 - q / (2 * math.log(n)))
    assert gaussian_limit("svd_entropy", *reversed(shape)) == gaussian_limit("svd_entropy", *shape)


def test_counts_of_a_square_gaussian():
    for settings, want in (({"threshold": 0.1}, 0.873), ({"threshold": 0.0}, 1.0)):
        got = gaussian_limit("numerical_rank", 1024, 1024, **settings) / 1024
        assert got == pytest.approx(want, abs=1e-3)
    for share, want in ((0.9, 0.51), (0.99, 0.77), (1.0, 1.0)):
        got = gaussian_limit("energy_rank", 1024, 1024, share=share, squared=True)
        assert got / 1024 == pytest.approx(want, abs=2e-3)


def test_gaussian_limit_refuses_what_has_none():
    with pytest.raises(UnknownNameError, match="Did you mean 'stable_rank'"):
        gaussian_limit("stable_rnk", 4, 4)
    with pytest.raises(HarnessError, match="depends on the matrix's scale"):
        gaussian_limit("numerical_rank", 4, 4, relative=False)
    with pytest.raises(HarnessError, match="at least 1, got 0 x 4"):
        gaussian_limit("stable_rank", 0, 4)

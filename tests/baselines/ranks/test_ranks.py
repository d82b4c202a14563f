"""Rank functionals: order between them, invariances, and values known in closed form."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import HarnessError, PluginError
from harness.methods.construct import build
from harness.methods.rank import Rank
from harness.metrics.marchenko_pastur import gaussian_limit
from harness.metrics.spectra import singular_values
from harness.registry import entries

CONFIGS: dict[str, dict] = {
    "stable": {"name": "stable_rank"},
    "nuclear_ratio": {"name": "nuclear_ratio"},
    "nuclear_over_frobenius": {"name": "nuclear_over_frobenius"},
    "participation": {"name": "participation_ratio"},
    "exp_h1": {"name": "entropy_rank", "gamma": 1.0},
    "exp_h2": {"name": "entropy_rank", "gamma": 2.0},
    "count": {"name": "numerical_rank", "threshold": 1e-10},
}
HILL = {k: build("rank", v) for k, v in CONFIGS.items()}
EVERY = {e.name: build("rank", {"name": e.name}) for e in entries("rank")}


def of_spectrum(s: list[float] | np.ndarray) -> dict[str, float]:
    t = torch.as_tensor(np.sort(np.asarray(s, dtype=float))[::-1].copy())
    return {k: float(f(t, (len(t), len(t)))) for k, f in HILL.items()}


def of_matrix(W: Tensor, functionals=HILL) -> dict[str, float]:
    s = singular_values(W, "svd")
    return {k: float(f(s, (W.shape[0], W.shape[1]))) for k, f in functionals.items()}


spectra = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-6, 1e6, allow_nan=False)), min_size=1, max_size=40
).filter(lambda s: max(s) > 0)


@given(spectra)
@settings(max_examples=150, deadline=None)
def test_hill_numbers_are_ordered(s):
    r = of_spectrum(s)
    slack = 1 + 1e-9
    chain = ["stable", "nuclear_ratio", "nuclear_over_frobenius", "exp_h1"]
    assert r["stable"] >= 1 - 1e-9
    for low, high in pairwise(chain):
        assert r[low] <= r[high] * slack, (low, high, r)
    assert r["stable"] <= r["participation"] * slack
    assert r["participation"] <= r["exp_h2"] * slack
    assert r["exp_h2"] <= r["exp_h1"] * slack
    assert r["participation"] <= r["nuclear_over_frobenius"] * slack
    positive = sum(x > 0 for x in s)
    assert r["exp_h1"] <= positive * slack and r["count"] <= positive <= len(s)


@given(spectra, st.floats(1e-200, 1e200))
@settings(max_examples=60, deadline=None)
def test_scale_does_not_matter_even_where_squares_overflow(s, scale):
    scaled = [x * scale for x in s]
    reference, got = of_spectrum(s), of_spectrum(scaled)
    for name in reference:
        assert got[name] == pytest.approx(reference[name], rel=1e-9), name


@given(spectra)
@settings(max_examples=60, deadline=None)
def test_gamma_2_of_s_is_gamma_1_of_s_squared(s):
    r, squares = of_spectrum(s), of_spectrum([x * x for x in s])
    assert r["stable"] == pytest.approx(squares["nuclear_ratio"])
    assert r["participation"] == pytest.approx(squares["nuclear_over_frobenius"])
    assert r["exp_h2"] == pytest.approx(squares["exp_h1"])


@pytest.mark.parametrize("shape", [(9, 9), (6, 11), (11, 6)])
def test_invariances(shape):
    W = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, right = (
        torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64))[0]
        for n in shape
    )
    reference = of_matrix(W)
    padded = torch.zeros(shape[0] + 3, shape[1] + 2, dtype=torch.float64)
    padded[: shape[0], : shape[1]] = W
    for other in (W.T, 1e-8 * W, -7 * W, left @ W, W @ right, padded):
        assert of_matrix(other) == pytest.approx(reference)
    twice = torch.block_diag(W, W)
    assert of_matrix(twice) == pytest.approx({k: 2 * v for k, v in reference.items()})


def test_svd_entropy_is_the_normalised_log_of_the_entropy_rank_and_is_not_padding_invariant():
    W = torch.randn(8, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    entropy = {"e": EVERY["svd_entropy"]}
    assert of_matrix(W, entropy)["e"] == pytest.approx(np.log(of_matrix(W)["exp_h2"]) / np.log(8))
    padded = torch.nn.functional.pad(W, (0, 4, 0, 8))
    assert of_matrix(padded, entropy)["e"] < of_matrix(W, entropy)["e"] - 0.05


@pytest.mark.parametrize("n", [1, 5, 256])
def test_identity_has_full_rank(n):
    values = of_matrix(torch.eye(n), {**HILL, "svd_entropy": EVERY["svd_entropy"]})
    assert values.pop("svd_entropy") == pytest.approx(1.0)
    assert values == pytest.approx(dict.fromkeys(values, n))


def test_rank_one_has_rank_one():
    W = torch.outer(torch.arange(1.0, 8), torch.arange(2.0, 7)).to(torch.float64)
    functionals = {k: v for k, v in EVERY.items() if k != "svd_entropy"}
    assert of_matrix(W, functionals) == pytest.approx(dict.fromkeys(functionals, 1.0), abs=1e-4)
    assert of_matrix(W, {"e": EVERY["svd_entropy"]})["e"] == pytest.approx(0.0, abs=1e-12)


def test_energy_rank_of_an_identity_is_less_than_full():
    """kexue.fm 10847's objection; 256 x .9, x .99 and x .99^2, rounded up."""
    s = torch.ones(256, dtype=torch.float64)
    for share, squared, want in ((0.9, True, 231), (0.99, True, 254), (0.99, False, 251), (1.0, False, 256)):
        rank = build("rank", {"name": "energy_rank", "share": share, "squared": squared})
        assert float(rank(s, (256, 256))) == want


def test_counts_against_absolute_and_relative_thresholds():
    s = torch.tensor([10.0, 5.0, 1.0, 0.05], dtype=torch.float64)
    for threshold, relative, want in ((0.5, False, 3), (0.05, False, 3), (0.1, True, 2), (0.09, True, 3)):
        rank = build("rank", {"name": "numerical_rank", "threshold": threshold, "relative": relative})
        assert float(rank(s, (4, 9))) == want


N = np.arange(1, 1025)
KNOWN = {
    "1/sqrt(i)": (N**-0.5, 62.6, 7.51, 521, 34.3, 805, 182),
    "1/i": (1 / N, 7.51, 1.64, 34.3, 2.50, 182, 5.10),
    "1/i^2": (1 / N**2, 1.64, 1.08, 2.50, 1.17, 5.10, 1.40),
    "0.9^i": (0.9**N, 10.0, 5.26, 19.0, 9.53, 25.8, 12.9),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_spectra(name):
    s, *want = KNOWN[name]
    got = of_spectrum(s)
    keys = ["nuclear_ratio", "stable", "nuclear_over_frobenius", "participation", "exp_h1", "exp_h2"]
    for key, value in zip(keys, want, strict=True):
        assert got[key] == pytest.approx(value, rel=0.006), key


def test_closed_forms_of_a_geometric_spectrum():
    s = 0.5 ** np.arange(60)
    got = of_spectrum(s)
    assert got["nuclear_ratio"] == pytest.approx(2)
    assert got["stable"] == pytest.approx(4 / 3)
    assert got["nuclear_over_frobenius"] == pytest.approx(3)
    assert got["participation"] == pytest.approx(5 / 3)
    assert got["exp_h1"] == pytest.approx(4)  # entropy of p = 2^-k is 2 bits


def test_rankme_eps_floors_the_rank():
    s = torch.zeros(4096, dtype=torch.float64)
    s[0] = 3.0
    for eps, want in ((1e-7, 1.007), (1e-5, 1.60), (0.0, 1.0)):
        rank = build("rank", {"name": "rankme", "eps": eps})
        assert float(rank(s, (30000, 4096))) == pytest.approx(want, rel=3e-3)


@pytest.mark.parametrize("name", EVERY)
def test_zero_is_0_nan_is_nan_and_batches_are_independent(name):
    s = torch.tensor([[3.0, 2.0, 1.0], [0.0, 0.0, 0.0], [torch.nan] * 3, [3.0, 2.0, 1.0]])
    value = EVERY[name](s, (3, 7))
    assert value.dtype == torch.float64 and value.shape == (4,)
    assert value[0] == value[3] > 0 and value[1] == 0.0 and value[2].isnan()


@pytest.mark.parametrize("name", EVERY)
def test_definitions_say_what_the_number_is(name):
    rank = EVERY[name]
    assert isinstance(rank, Rank)
    definition = rank.definition()
    assert str(definition["id"]).startswith(name)
    assert {"gamma", "normalised", "centred"} <= definition.keys()


@pytest.mark.parametrize("shape", [(512, 512), (256, 1024)])
def test_gaussian_matrices_approach_the_marchenko_pastur_limits(shape):
    W = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    got = of_matrix(W, {**HILL, "energy": build("rank", {"name": "energy_rank", "share": 0.9})})
    for label, config in {**CONFIGS, "energy": {"name": "energy_rank", "share": 0.9}}.items():
        settings_ = {k: v for k, v in config.items() if k != "name"}
        tolerance = 0.04 if label in ("stable", "nuclear_ratio") else 0.01  # edge fluctuations
        assert got[label] == pytest.approx(gaussian_limit(config["name"], *shape, **settings_), rel=tolerance)


def test_a_truncated_spectrum_is_refused():
    with pytest.raises(HarnessError, match=r"give all of them \(8, at least 1\).*truncated"):
        EVERY["entropy_rank"](torch.ones(4), (8, 8))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "entropy_rank", "gamma": 0}, "gamma must be positive"),
        ({"name": "numerical_rank", "threshold": 1.5}, r"threshold must be in \[0, 1\)"),
        ({"name": "energy_rank", "share": 0}, r"share must be in \(0, 1\]"),
        ({"name": "rankme", "eps": -1}, r"eps must be in \[0, 1\)"),
        ({"name": "stable_rnak"}, "Did you mean 'stable_rank'"),
    ],
)
def test_wrong_configs_say_what_is_wrong(config, message):
    with pytest.raises((PluginError, HarnessError), match=message):
        build("rank", config)

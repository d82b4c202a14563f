"""The Gaussian codebook: normals by counting, equal for good, and codecs that name it."""

import math
import tracemalloc
from statistics import NormalDist

import numpy as np
import pytest
import torch

from baselines.codecs import _gaussian_codebook
from baselines.codecs._gaussian_codebook import Gaussian, quantiles
from harness.codecs import coding
from harness.errors import PluginError
from harness.methods.construct import build
from tests.baselines.codecs.gaussian import White

CODECS = (
    {"name": "ddcm", "steps": 6, "codewords": 16},
    {"name": "matching_pursuit", "steps": 5, "codewords": 16, "atoms": 3},
    {"name": "turbo", "steps": 5, "codewords": 64, "atoms": 5},
    {"name": "allocated", "steps": 5, "codewords": 256},
)


def words(book, step, K):
    return book.combine(step, torch.arange(K)[:, None], torch.ones(K, 1))


def test_the_table_holds_normal_quantiles_in_whole_units():
    table = quantiles().astype(np.float64)
    assert len(table) == 65536 and (np.diff(table) >= 0).all() and np.array_equal(table, -table[::-1])
    assert np.array_equal(table * 4096, np.round(table * 4096))
    assert np.square(table).mean() == pytest.approx(1, abs=1e-4)
    assert (table**4).mean() == pytest.approx(3, abs=0.01)
    for share in (0.001, 0.1, 0.4, 0.9):
        assert table[int(share * 65536)] == pytest.approx(NormalDist().inv_cdf(share), abs=2e-3)


def test_codewords_are_philoxs_at_their_counter_for_good():
    """Every file rests on them: a change here makes all of them undecodable."""
    raw = np.random.Philox(key=[3, 7], counter=[2 * 3, 0, 0, 1]).random_raw(12)
    halves = [int(v) >> 16 * i & 0xFFFF for v in raw for i in range(4)]
    found = words(Gaussian(3, 40), 7, 3)[2]
    assert found.tolist() == [float(quantiles()[h]) for h in halves[:40]]
    assert [hex(int(v)) for v in raw[:2]] == WANTED


WANTED = ["0xa8627ed654faa4b7", "0xc8f714c46ba6b0de"]


def test_inner_products_are_those_with_the_codewords_however_many_are_held(monkeypatch):
    book, r = Gaussian(0, 300), torch.randn(2, 300, generator=torch.Generator().manual_seed(0))
    expected = r @ words(book, 5, 100).T
    torch.testing.assert_close(book.project(5, r, 100), expected, rtol=1e-4, atol=1e-3)
    for held in (1, 700, 304 * 33):
        monkeypatch.setattr(_gaussian_codebook, "HELD", held)
        torch.testing.assert_close(book.project(5, r, 100), expected, rtol=1e-4, atol=1e-3)


def test_memory_is_bounded_whatever_the_number_of_codewords():
    book, r = Gaussian(0, 3072), torch.zeros(1, 3072)
    tracemalloc.start()
    book.project(1, r, 1 << 14)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All of them would take 3072 x 16,384 x 4 = 201 MB; a group takes a table look-up and its bits.
    assert peak < 64e6


def test_codewords_are_independent_normals_over_indices_steps_and_seeds():
    found = torch.cat([words(Gaussian(seed, 4096), step, 8) for seed in range(2) for step in range(4)])
    assert float(found.mean()) == pytest.approx(0, abs=5 / math.sqrt(found.numel()))
    assert float(found.square().mean()) == pytest.approx(1, abs=5 * math.sqrt(2 / found.numel()))
    correlation = (found @ found.T / 4096).fill_diagonal_(0)
    assert float(correlation.abs().max()) < 5.5 / math.sqrt(4096)


def test_sums_have_unit_variance_exactly_and_one_codeword_keeps_its_length():
    book = Gaussian(0, 1000)
    index, sign = torch.tensor([[3, 9, 11], [1, 2, 5]]), torch.tensor([[1.0, -1, 1], [1, 1, -1]])
    found = book.combine(4, index, sign)
    each = words(book, 4, 12)
    for row, i, s in zip(found, index, sign, strict=True):
        total = (each[i].double() * s[:, None].double()).sum(0)
        torch.testing.assert_close(row.double(), total / total.square().mean().sqrt(), rtol=1e-6, atol=1e-6)
    assert float(each[0].square().mean()) != pytest.approx(1, abs=1e-4)
    assert torch.equal(book.combine(4, index[1:], sign[1:])[0], found[1])
    assert not book.combine(4, torch.tensor([[3, 3]]), torch.tensor([[1.0, -1.0]])).any()


@pytest.mark.parametrize("config", CODECS, ids=lambda c: c["name"])
def test_the_file_says_which_codebook_and_decodes_by_it(config):
    image = np.random.default_rng(0).integers(0, 256, (13, 22, 3), dtype=np.uint8)
    files = {}
    for name in ("hadamard", "gaussian"):
        encoded = coding.encode(build("codec", {**config, "codebook": name}), image, White())
        decoded = coding.decode(encoded.file, White())
        assert decoded.held.fields["codebook"] == name
        assert np.array_equal(decoded.image, encoded.encoded.reconstruction)
        files[name] = encoded.file
    assert files["hadamard"] == coding.encode(build("codec", config), image, White()).file != files["gaussian"]


@pytest.mark.parametrize("config", CODECS, ids=lambda c: c["name"])
def test_an_unknown_codebook_is_refused_with_the_field(config):
    with pytest.raises(PluginError, match=r"codebook must be one of hadamard, gaussian, got 'gausian'"):
        build("codec", {**config, "codebook": "gausian"})

"""The Hadamard codebook: its codewords by definition, their exactness and their law."""

import math

import numpy as np
import pytest
import torch

from baselines.codecs._codebook import Hadamard, open_codebook, sylvester, transformed
from harness.errors import UnknownNameError


def all_words(book, step, K):
    return book.combine(step, torch.arange(K)[:, None], torch.ones(K, 1))


@pytest.mark.parametrize("size", [1, 2, 8, 16, 32, 512, 1024])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_transform_is_the_product_with_the_hadamard_matrix(size, batch):
    x = torch.randint(-9, 10, (batch, size)).float()
    assert torch.equal(transformed(x), x @ sylvester(size).T)


def test_codewords_are_rows_of_the_product_of_signs_and_transforms():
    book = Hadamard(3, 50)
    first, second = book._signs(7, 0)
    H = sylvester(64).double()
    rows = H @ torch.diag(second.double()) @ H @ torch.diag(first.double()) / 8
    torch.testing.assert_close(all_words(book, 7, 64).double(), rows[:, :50], rtol=0, atol=1e-6)


def test_inner_products_are_those_with_the_codewords():
    book, r = Hadamard(0, 300), torch.randn(4, 300)
    words = all_words(book, 5, 512)
    torch.testing.assert_close(book.project(5, r, 512), r @ words.T, rtol=1e-4, atol=1e-3)
    assert torch.equal(book.project(5, r, 32), book.project(5, r, 512)[:, :32])


def test_more_codewords_than_dimensions_come_from_further_pages():
    book, r = Hadamard(0, 48), torch.randn(1, 48)
    words = all_words(book, 5, 256)
    torch.testing.assert_close(book.project(5, r, 256), r @ words.T, rtol=1e-4, atol=1e-4)
    assert len({tuple(w.tolist()) for w in words}) == 256
    both = book.combine(5, torch.tensor([[3, 200]]), torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(both, (words[3:4] - words[200:201]) / math.sqrt(2))


def test_sums_are_exact_whatever_the_order():
    """Integers below 2^24 in float32: one call for three rows gives the bits of three calls."""
    book = Hadamard(1, 49152)
    index = torch.randint(0, 16384, (3, 256))
    sign = torch.randint(0, 2, (3, 256)).float() * 2 - 1
    at_once = book.combine(2, index, sign)
    one_by_one = torch.cat([book.combine(2, index[i : i + 1], sign[i : i + 1]) for i in range(3)])
    assert torch.equal(at_once, one_by_one)
    double = torch.zeros(65536, dtype=torch.float64).index_add_(0, index[0], sign[0].double())
    first, second = book._signs(2, 0)
    for signs in (second, first):
        double = transformed(double.float()[None])[0].double() * signs
    assert torch.equal(at_once[0], (double * (1 / math.sqrt(65536 * 256))).float()[:49152])


def test_codewords_look_normal_and_independent_over_steps():
    book = Hadamard(0, 4096)
    words = torch.cat([all_words(book, step, 16) for step in range(16)])
    assert float(words.mean()) == pytest.approx(0, abs=0.005)
    assert float(words.square().mean()) == pytest.approx(1, abs=0.005)
    assert float(words.pow(4).mean()) == pytest.approx(3, abs=0.05)
    correlation = (words @ words.T / 4096).fill_diagonal_(0)
    assert float(correlation.abs().max()) < 5.5 / math.sqrt(4096)
    assert not torch.equal(all_words(Hadamard(1, 4096), 0, 4), words[:4])


def test_signs_are_those_of_philox_for_good():
    """Every file rests on them: a change here makes all of them undecodable."""
    signs = Hadamard(0, 64)._signs(1, 0)
    raw = np.random.Philox(key=[0, 1]).random_raw(2)
    assert [hex(int(v)) for v in raw] == WANTED
    bits = [int(raw[0]) >> 8 * (i // 8) + 7 - i % 8 & 1 for i in range(64)]
    assert signs[0].tolist() == [1 - 2 * b for b in bits]


WANTED = ["0xd037f8c3f9a1d176", "0xc057419b4c210765"]


def test_an_unknown_codebook_is_named():
    with pytest.raises(UnknownNameError, match="unknown codebook 'hadamar'"):
        open_codebook("hadamar", 0, 8, 4)

"""The Hadamard codebook: codeword k of a step is row k of H D2 H D1 / sqrt(N), D1 and D2 random signs of that step.

All inner products cost two fast transforms, and the signed sum of any codewords two more. What the decoder adds up
are integers, so that codewords are equal bit for bit on every device. N is the power of two at or above the
vector's size; more codewords than that come from further pages of signs.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor

from baselines.codecs._gaussian_codebook import Gaussian
from harness.errors import unknown


class Hadamard:
    """Codewords for vectors of ``size`` numbers, with signs drawn from ``seed``."""

    def __init__(self, seed: int, size: int) -> None:
        self._seed, self._size = seed, size
        self._length = 1 << (size - 1).bit_length()
        self._signs = lru_cache(maxsize=2)(self._drawn)

    def project(self, step: int, r_BN: Tensor, K: int) -> Tensor:
        """(B, K): inner products of vectors with the first K codewords of a step."""
        pages = [
            self._project(step, page, r_BN)[:, : K - page * self._length] for page in range(-(-K // self._length))
        ]
        return pages[0] if len(pages) == 1 else torch.cat(pages, dim=1)

    def combine(self, step: int, index_BM: Tensor, sign_BM: Tensor) -> Tensor:
        """(B, N): signed sums of M codewords of a step over sqrt(M), of unit variance."""
        scale = 1 / math.sqrt(self._length * index_BM.shape[1])
        last = int(index_BM.max()) // self._length
        index_BM, page_BM = index_BM % self._length, index_BM // self._length
        total = self._sum(step, 0, index_BM, sign_BM * (page_BM == 0))
        for page in range(1, last + 1):
            if (page_BM == page).any():
                total += self._sum(step, page, index_BM, sign_BM * (page_BM == page))
        return total[:, : self._size] * scale

    def _project(self, step: int, page: int, r_BN: Tensor) -> Tensor:
        first, second = self._signs(step, page)
        x_BN = r_BN.new_zeros(len(r_BN), self._length)
        torch.mul(r_BN, first[: self._size], out=x_BN[:, : self._size])
        return transformed(transformed(x_BN).mul_(second)).div_(math.sqrt(self._length))

    def _sum(self, step: int, page: int, index_BM: Tensor, sign_BM: Tensor) -> Tensor:
        first, second = self._signs(step, page)
        x_BN = torch.zeros(len(index_BM), self._length).scatter_add_(1, index_BM, sign_BM)
        return transformed(transformed(x_BN).mul_(second)).mul_(first)

    def _drawn(self, step: int, page: int) -> Tensor:
        """(2, N) signs of a step, from a generator's raw bits, which are equal in every version of numpy."""
        stream = np.random.Philox(key=[self._seed, step], counter=[0, 0, 0, page])
        raw = stream.random_raw(-(-2 * self._length // 64))
        bits = np.unpackbits(raw.astype("<u8").view(np.uint8), count=2 * self._length)
        return torch.from_numpy(bits).float().mul_(-2).add_(1).view(2, self._length)


def transformed(x_BN: Tensor) -> Tensor:
    """H x for the Hadamard matrix of N = 2^p in Sylvester's order: a Kronecker product, one factor of 16 at a time.

    Each product takes the first axis of what is left and puts it last; after all of them the order is as before.
    At N = 65,536 that is five times faster than two factors of 256 or sixteen butterflies.
    """
    B, N = x_BN.shape
    x = x_BN.T.reshape(-1) if B > 1 else x_BN.view(-1)
    left = N
    while left > 1:
        radix = min(left, 16)
        x = torch.mm(x.view(radix, -1).T, sylvester(radix)).view(-1)
        left //= radix
    return x.view(B, N)


@cache
def sylvester(size: int) -> Tensor:
    """The Hadamard matrix of a power of two, +1 and -1."""
    H = torch.ones(1, 1)
    while len(H) < size:
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)])
    return H


CODEBOOKS: dict[str, type[Hadamard] | type[Gaussian]] = {"hadamard": Hadamard, "gaussian": Gaussian}
"""Name in a codec's field ``codebook`` -> what makes its codewords."""


@lru_cache(maxsize=8)
def open_codebook(name: str, seed: int, size: int, codewords: int) -> Hadamard | Gaussian:
    """The codebook of this name and seed for vectors of ``size`` numbers. UnknownNameError for another name."""
    if name not in CODEBOOKS:
        raise unknown("codebook", name, CODEBOOKS)
    return CODEBOOKS[name](seed, size)


def known_codebook(name: str, codebook: str) -> None:
    """Raises ValueError where a codec's field names no codebook."""
    if codebook not in CODEBOOKS:
        raise ValueError(f"{name}: codebook must be one of {', '.join(CODEBOOKS)}, got {codebook!r}")

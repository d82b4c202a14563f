"""The Hadamard codebook: codeword k of a step is row k of H D2 H D1 / sqrt(N), D1 and D2 random signs of that step.

All inner products cost two fast transforms, the signed sum of any codewords two more, a lone codeword one. What the
decoder adds up are integers, so that codewords are equal bit for bit on every device. N is the power of two at or
above the vector's size; more codewords than that come from further pages of signs.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.errors import unknown


class Hadamard:
    """Codewords for vectors of ``size`` numbers, with signs drawn from ``seed``."""

    def __init__(self, seed: int, size: int) -> None:
        self._seed, self._size = seed, size
        self._length = 1 << (size - 1).bit_length()
        self._log_rows = self._length.bit_length() // 2
        self._H_AA = sylvester(self._length >> self._log_rows)
        self._H_BB = sylvester(1 << self._log_rows)
        self._signs = lru_cache(maxsize=2)(self._drawn)

    def project(self, step: int, r_BN: Tensor, K: int) -> Tensor:
        """(B, K): inner products of vectors with the first K codewords of a step."""
        pages = [
            self._project(step, page, r_BN, min(K - page * self._length, self._length))
            for page in range(-(-K // self._length))
        ]
        return pages[0] if len(pages) == 1 else torch.cat(pages, dim=1)

    def combine(self, step: int, index_BM: Tensor, sign_BM: Tensor) -> Tensor:
        """(B, N): signed sums of M codewords of a step over sqrt(M), of unit variance."""
        index_BM, page_BM = index_BM % self._length, index_BM // self._length
        pages = page_BM.unique().tolist()
        total = sum((self._combine(step, p, index_BM, sign_BM * (page_BM == p)) for p in pages), torch.zeros(1))
        return total[:, : self._size] * (1 / math.sqrt(self._length * index_BM.shape[1]))

    def _project(self, step: int, page: int, r_BN: Tensor, K: int) -> Tensor:
        first, second = self._signs(step, page)
        x_BN = r_BN.new_zeros(len(r_BN), self._length)
        torch.mul(r_BN, first[: self._size], out=x_BN[:, : self._size])
        x_BN = self._transform(x_BN).mul_(second)
        # Of the second transform only the rows of the first K codewords.
        rows = -(-K // (1 << self._log_rows))
        x_BAB = x_BN.view(len(r_BN), -1, 1 << self._log_rows)
        found = (self._H_AA[:rows] @ x_BAB @ self._H_BB).reshape(len(r_BN), -1)[:, :K]
        return found.div_(math.sqrt(self._length))

    def _combine(self, step: int, page: int, index_BM: Tensor, sign_BM: Tensor) -> Tensor:
        first, second = self._signs(step, page)
        if index_BM.shape[1] == 1:
            # The transform of a unit vector is a row, which is an outer product of two.
            a_B, b_B = index_BM[:, 0] >> self._log_rows, index_BM[:, 0] & (1 << self._log_rows) - 1
            x_BN = ((self._H_AA[a_B] * sign_BM)[:, :, None] * self._H_BB[b_B][:, None]).flatten(1)
        else:
            x_BN = torch.zeros(len(index_BM), self._length)
            x_BN.scatter_add_(1, index_BM, sign_BM)
            x_BN = self._transform(x_BN)
        return self._transform(x_BN.mul_(second)).mul_(first)

    def _transform(self, x_BN: Tensor) -> Tensor:
        """H x as two products with smaller Hadamard matrices, whose Kronecker product H is."""
        x_BAB = x_BN.view(len(x_BN), -1, 1 << self._log_rows)
        return (self._H_AA @ x_BAB @ self._H_BB).view(len(x_BN), -1)

    def _drawn(self, step: int, page: int) -> Tensor:
        """(2, N) signs of a step, from a generator's raw bits, which are equal in every version of numpy."""
        stream = np.random.Philox(key=[self._seed, step], counter=[0, 0, 0, page])
        raw = stream.random_raw(-(-2 * self._length // 64))
        bits = np.unpackbits(raw.astype("<u8").view(np.uint8), count=2 * self._length)
        return torch.from_numpy(bits).float().mul_(-2).add_(1).view(2, self._length)


@cache
def sylvester(size: int) -> Tensor:
    """The Hadamard matrix of a power of two, +1 and -1."""
    H = torch.ones(1, 1)
    while len(H) < size:
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)])
    return H


@lru_cache(maxsize=8)
def open_codebook(name: str, seed: int, size: int, codewords: int) -> Hadamard:
    """The codebook of this name and seed for vectors of ``size`` numbers."""
    if name != "hadamard":
        raise unknown("codebook", name, ["hadamard"])
    return Hadamard(seed, size)

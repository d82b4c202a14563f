"""The Gaussian codebook of DDCM: codewords of independent normals, any of which is made alone, by counting.

Philox at counter (k, position) gives 16 bits a number, and a table of 65,536 normal quantiles turns them into whole
multiples of 2^-12: no logarithm, no order of draws, and sums of up to 256 of them exact in float32, so that a
codeword is equal bit for bit on every device. The decoder makes those it uses; the encoder a few at a time.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

GRAIN = 1 << 12
"""Units of the table a standard deviation."""
WORDS = 16
"""Numbers of 16 bits that Philox gives at one counter."""
HELD = 1 << 22
"""Numbers of codewords that are held at once, whatever K."""
STREAM = 1
"""Keeps these draws apart from others of the same seed and step."""


class Gaussian:
    """Codewords for vectors of ``size`` numbers, drawn from ``seed``."""

    def __init__(self, seed: int, size: int) -> None:
        self._seed, self._size = seed, size
        self._stride = -(-size // WORDS)
        """Counters that a codeword takes."""

    def project(self, step: int, r_BN: Tensor, K: int) -> Tensor:
        """(B, K): inner products of vectors with the first K codewords of a step."""
        group = max(1, HELD // (self._stride * WORDS))
        parts = [r_BN @ self._words(step, first, min(group, K - first)).T for first in range(0, K, group)]
        return torch.cat(parts, dim=1)

    def combine(self, step: int, index_BM: Tensor, sign_BM: Tensor) -> Tensor:
        """(B, N): a codeword, or the signed sum of several, scaled to unit variance as in 2511.06424."""
        out = torch.zeros(len(index_BM), self._size)
        for row, indices, signs in zip(out, index_BM.tolist(), sign_BM.tolist(), strict=True):
            for index, sign in zip(indices, signs, strict=True):
                row.add_(self._words(step, index, 1)[0], alpha=sign)
        if index_BM.shape[1] == 1:
            return out
        # Squares are summed as whole numbers, which no order of sums and no device changes.
        squares = (out * GRAIN).long().square_().sum(1).tolist()
        for row, total in zip(out, squares, strict=True):
            row.mul_(GRAIN * math.sqrt(self._size / max(total, 1)))
        return out

    def _words(self, step: int, first: int, count: int) -> Tensor:
        """(count, N) codewords from the ``first`` on."""
        stream = np.random.Philox(key=[self._seed, step], counter=[first * self._stride, 0, 0, STREAM])
        raw = stream.random_raw(count * self._stride * WORDS // 4).astype("<u8").view("<u2")
        return torch.from_numpy(quantiles()[raw].reshape(count, -1)[:, : self._size])


@cache
def quantiles() -> np.ndarray:
    """(65536,) float32: normal quantiles of (i + 1/2) / 65536, scaled to mean square 1, in whole 1/4096."""
    half = np.array([NormalDist().inv_cdf((i + 0.5) / 65536) for i in range(32768)])
    half = np.round(half * (GRAIN / np.sqrt(np.square(half).mean()))) / GRAIN
    return np.concatenate([half, -half[::-1]]).astype(np.float32)

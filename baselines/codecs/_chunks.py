"""A draw from N(shift, I) in chunks, each named by the index of a candidate that both sides can make.

Dimensions are dealt to chunks at random, so that each holds a like share of the divergence. Candidates are Hadamard
codewords of a chunk's dimensions, from as many codebooks as 2^16 of them need; chunks of one step share them, each
with signs of its own. These codewords all lie on the sphere; times a radius each they are normal vectors. Without
it, 8 bits in 64 dimensions reach 87 % of their shift.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, lru_cache
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from baselines.codecs._codebook import open_codebook
from baselines.codecs._schedule import Step
from harness.errors import HarnessError

CODEBOOK = "hadamard"
CHUNK_BITS = 8.0
"""Largest divergence of a chunk, in bits."""
CANDIDATE_BITS = 16
"""log2 of the number of candidates of a chunk."""
LEAST = 16
"""Fewest dimensions of a chunk."""
LEVELS = tuple(sorted({int(2 ** (i / 8) + 0.5) for i in range(161)}))
"""Numbers of chunks that a step may have: eight an octave."""
GROUP = 1 << 20
"""Inner products that are held at once."""


class Chunks:
    """The chunks of one step."""

    def __init__(self, size: int, step: Step, seed: int, level: int) -> None:
        self.level = level
        self.number = LEVELS[level]
        """How many chunks there are."""
        self._size, self._step, self._seed = size, step, seed
        self._dims = -(-size // self.number)
        self._rows = min(1 << CANDIDATE_BITS, 1 << (self._dims - 1).bit_length())
        """Candidates that one codebook gives."""
        self._codebook = open_codebook(CODEBOOK, seed, self._dims, self._rows)
        self._order, self._signs = _deal(size, seed)

    @classmethod
    def for_shift(cls, shift_N: Tensor, step: Step, seed: int, level: int) -> Chunks:
        """The fewest chunks, at least those of ``level``, none of which holds more than 8 bits.

        Raises HarnessError where these would have too few dimensions.
        """
        size = shift_N.numel()
        order, _ = _deal(size, seed)
        nats_N = shift_N[order].double().square_().div_(2).cumsum(0).cpu().numpy()
        while True:
            if level > highest_level(size):
                raise HarnessError(
                    f"codec 'diffc': the step at time {step.time} has {nats_N[-1] / math.log(2):,.0f} bits to "
                    f"send, more than chunks of {CHUNK_BITS:.0f} can hold here; set stop above {step.time}"
                )
            dims = -(-size // LEVELS[level])
            ends = nats_N[np.minimum(np.arange(1, LEVELS[level] + 1) * dims, size) - 1]
            if np.diff(ends, prepend=0.0).max() <= CHUNK_BITS * math.log(2):
                return cls(size, step, seed, level)
            level += 1

    def draw(self, shift_N: Tensor, draws: np.random.Generator) -> list[int]:
        """Index of each chunk's candidate, by the Poisson functional representation."""
        shift_CD = self._dealt(shift_N)
        nats = float(shift_CD.double().square().sum(1).max()) / 2
        most = self._candidates(nats / math.log(2))
        group = max(1, GROUP // self._rows)
        found: list[int] = []
        for first in range(0, self.number, group):
            part = slice(first, min(first + group, self.number))
            found += self._draw(shift_CD[part], np.arange(self.number)[part], most, draws)
        return found

    def _draw(self, shift_CD: Tensor, chunks: np.ndarray, most: int, draws: np.random.Generator) -> list[int]:
        # log w lacks |s|^2 / 2 here, which all candidates of a chunk share.
        best = np.full(len(chunks), np.inf)
        index = np.zeros(len(chunks), dtype=np.int64)
        arrived = np.zeros((len(chunks), 1))
        each = np.arange(len(chunks))
        for block in range(-(-most // self._rows)):
            scores = self._codebook.project(self._key(block), shift_CD, self._rows).double().numpy()
            scores *= self._radii(block, chunks[:, None], np.arange(self._rows))
            times = draws.standard_exponential(scores.shape)
            np.cumsum(times, axis=1, out=times)
            times += arrived
            arrived = times[:, -1:].copy()
            np.log(times, out=times)
            times -= scores
            nearest = times.argmin(axis=1)
            better = times[each, nearest] < best
            best[better] = times[each, nearest][better]
            index[better] = block * self._rows + nearest[better]
        return index.tolist()

    @staticmethod
    def _candidates(bits: float) -> int:
        """How many candidates are looked at: log w has standard deviation sqrt(2 bits / ln 2) under the draw."""
        return 1 << min(CANDIDATE_BITS, math.ceil(bits + 1.7 * math.sqrt(2 * bits / math.log(2))) + 3)

    def noise(self, indices: Sequence[int]) -> Tensor:
        """(1, N): the candidates that the indices name, where they belong."""
        blocks: dict[int, list[int]] = defaultdict(list)
        for chunk, index in enumerate(indices):
            blocks[index // self._rows].append(chunk)
        noise_CD = torch.empty(self.number, self._dims)
        for block, chunks in blocks.items():
            rows = np.array([[indices[c] % self._rows] for c in chunks])
            words = self._codebook.combine(self._key(block), torch.from_numpy(rows), torch.ones(len(chunks), 1))
            radii = self._radii(block, np.array(chunks)[:, None], rows)
            noise_CD[chunks] = words * torch.from_numpy(radii).float()
        noise_N = noise_CD.view(-1)[: self._size] * self._signs
        out = torch.empty_like(noise_N)
        out[self._order] = noise_N
        return out[None]

    def _dealt(self, shift_N: Tensor) -> Tensor:
        dealt = shift_N.new_zeros(self.number * self._dims)
        torch.mul(shift_N[self._order], self._signs, out=dealt[: self._size])
        return dealt.view(self.number, self._dims)

    def _radii(self, block: int, chunk: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Radius of candidates, in units of the sphere's: no two chunks share all of them."""
        of_chunk = _raw_bytes(self._seed, self._step.number << 1, self.number)[chunk]
        of_row = _raw_bytes(self._seed, self._key(block) << 1 | 1, self._rows)[row]
        return _radii(self._rows)[of_chunk + of_row]

    def _key(self, block: int) -> int:
        """Number of a codebook that no other step and block has."""
        return self._step.number << CANDIDATE_BITS | block


def _raw_bytes(seed: int, key: int, count: int) -> np.ndarray:
    """Uniform bytes, by raw bits: equal in every version of numpy."""
    return np.random.Philox(key=[seed, key << 2 | 3]).random_raw(-(-count // 8)).view(np.uint8)[:count]


@cache
def _radii(dims: int) -> np.ndarray:
    """256 quantiles of chi / sqrt(d) for d dimensions, by Wilson and Hilferty's cube root; mean square 1."""
    spread = 2 / (9 * dims)
    cubed = [1 - spread + math.sqrt(spread) * NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)]
    radii = np.array([max(c, 0.0) ** 1.5 for c in cubed])
    return radii / math.sqrt(float(np.square(radii).mean()))


def highest_level(size: int) -> int:
    """The level of the most chunks that so many numbers are dealt to."""
    return max(sum(size >= LEAST * number for number in LEVELS) - 1, 0)


@lru_cache(maxsize=4)
def _deal(size: int, seed: int) -> tuple[Tensor, Tensor]:
    """(order of the dimensions, a sign for each), by raw bits, which are equal in every version of numpy."""
    raw = np.random.Philox(key=[seed, 2]).random_raw(size)
    order = np.argsort(raw >> np.uint64(1), kind="stable")
    return torch.from_numpy(order), torch.from_numpy(1 - 2 * (raw & np.uint64(1)).astype(np.float32))

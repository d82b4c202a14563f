"""A set of M numbers below K as one number below binom(K, M): its rank in colexicographic order.

rank{c_1 < ... < c_M} = sum_i binom(c_i, i) (Lehmer's combinatorial number system). Integers throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache


@cache
def size(K: int, M: int) -> int:
    """binom(K, M): how many sets there are."""
    return math.comb(K, M)


def width(K: int, M: int) -> int:
    """Bits of a rank: ceil(log2 binom(K, M))."""
    return (size(K, M) - 1).bit_length()


def rank(members: Sequence[int]) -> int:
    """Rank of a set given in ascending order."""
    return sum(math.comb(c, i) for i, c in enumerate(members, 1))


def members(rank: int, K: int, M: int) -> list[int]:
    """The set of M numbers below K of this rank, in ascending order; ``rank`` is below binom(K, M)."""
    found = []
    above = K
    for i in range(M, 0, -1):
        c, value = _largest(rank, i, above)
        found.append(c)
        rank -= value
        above = c
    return found[::-1]


def _largest(rank: int, i: int, above: int) -> tuple[int, int]:
    """(c, binom(c, i)) with the largest c < above for which binom(c, i) <= rank."""
    if rank == 0:
        return i - 1, 0
    # Where to begin is a guess in floats; the way from there is exact, and a step or two long.
    guess = math.exp((math.log(rank) + math.lgamma(i + 1)) / i) + (i - 1) / 2
    c = min(max(int(guess), i), above - 1)
    value = math.comb(c, i)
    while value > rank:
        value = value * (c - i) // c
        c -= 1
    while c + 1 < above and (larger := value * (c + 1) // (c + 1 - i)) <= rank:
        c, value = c + 1, larger
    return c, value

"""DDCM by matching pursuit (2502.01189, section 3.3): a step's noise is a convex mix of several codewords.

Greedy, as in the released code: begin with the best codeword z; then M - 1 times, over all k and all
g = c / (2^C - 1), c = 1 .. 2^C - 1, take the mix sqrt(g) z + sqrt(1 - g) C_t(k), scaled to unit variance, whose
inner product with the residual is largest, if that is an improvement; code c = 0 means that it was none.
Bits: (T - 1) (M log2 K + (M - 1) C), paid whether atoms enter or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from baselines.codecs._by_step import ByStep, codeword
from baselines.codecs._schedule import Step
from harness.methods.codec import Choice
from harness.registry import register


@register("codec")
@dataclass(frozen=True, kw_only=True)
class MatchingPursuit(ByStep):
    """Several codewords a step, with coefficients."""

    atoms: int = 3
    """Codewords that a step's noise is mixed from, at most."""
    coefficient_bits: int = 3
    """Bits of the coefficient of each codeword after the first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.atoms <= 64:
            raise ValueError(f"MatchingPursuit: atoms must lie in 1 to 64, got {self.atoms}")
        if self.atoms > self.codewords:
            raise ValueError(
                f"MatchingPursuit: {self.atoms} atoms cannot be taken from {self.codewords} codewords"
            )
        if not 2 <= self.coefficient_bits <= 8:
            raise ValueError(
                "MatchingPursuit: coefficient_bits must lie in 2 to 8, since with 1 the only coefficient is 1 and "
                f"a second atom can never enter, got {self.coefficient_bits}"
            )

    def step_bits(self, step: Step) -> int:
        """M log2 K + (M - 1) C."""
        return self.index_bits + (self.atoms - 1) * self._atom_bits

    @property
    def _atom_bits(self) -> int:
        return self.index_bits + self.coefficient_bits

    def _choose(self, codebook: Any, step: Step, residual: Tensor) -> tuple[int, Tensor]:
        scores_K = codebook.project(step.number, residual, self.codewords)[0].double()
        number = int(scores_K.argmax())
        noise, value = codeword(codebook, step.number, number), float(scores_K[number])
        for left in reversed(range(self.atoms - 1)):
            index, code, reached = self._best(codebook, step, noise, value, scores_K)
            if reached <= value:
                # Nothing improves on what there is: zeros to the end.
                return number << (left + 1) * self._atom_bits, noise
            number = number << self._atom_bits | index << self.coefficient_bits | code
            noise = self._mix(noise, codeword(codebook, step.number, index), code)
            value = float((noise.double() * residual).sum())
        return number, noise

    def _best(
        self, codebook: Any, step: Step, noise: Tensor, value: float, scores_K: Tensor
    ) -> tuple[int, int, float]:
        """(k, code, inner product) of the best mix; one projection gives the norms of all mixes."""
        shared_K = codebook.project(step.number, noise, self.codewords)[0].double()
        size = noise.numel()
        share_G = torch.arange(1, 1 << self.coefficient_bits, dtype=torch.float64)[:, None] / self._scale
        of_noise, of_atom = share_G.sqrt(), (1 - share_G).sqrt()
        squared_GK = size + 2 * of_noise * of_atom * shared_K
        reached_GK = (of_noise * value + of_atom * scores_K) * math.sqrt(size) / squared_GK.clamp_min(1e-9).sqrt()
        best = int(reached_GK.argmax())
        code, index = divmod(best, self.codewords)
        return index, code + 1, float(reached_GK.flatten()[best])

    def _choice(self, codebook: Literal["hadamard", "gaussian"]) -> Choice:
        return Choice(
            codebook=codebook, codewords=self.codewords, atoms=self.atoms,
            coefficient_bits=self.coefficient_bits, scaled=self.atoms > 1,
        )

    def _noise(self, codebook: Any, step: Step, number: int) -> Tensor:
        left = (self.atoms - 1) * self._atom_bits
        noise = codeword(codebook, step.number, number >> left)
        while left:
            left -= self._atom_bits
            index, code = divmod(number >> left & (1 << self._atom_bits) - 1, 1 << self.coefficient_bits)
            if code == 0:
                break
            noise = self._mix(noise, codeword(codebook, step.number, index), code)
        return noise

    @property
    def _scale(self) -> int:
        return (1 << self.coefficient_bits) - 1

    def _mix(self, noise: Tensor, atom: Tensor, code: int) -> Tensor:
        share = code / self._scale
        mixed = noise * math.sqrt(share) + atom * math.sqrt(1 - share)
        # A mix of a codeword with its like is never zero; a file may say one of a codeword with its opposite.
        return mixed / mixed.square().mean().sqrt().clamp_min(1e-6)

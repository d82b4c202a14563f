"""Turbo-DDCM (2511.06424): a step's noise is the signed sum of the M codewords nearest to the residual's line.

u_k = <C_t(k), x0 - x0_hat>; the M largest |u_k| enter with the sign of u_k, and the sum has unit variance.
A step costs ceil(log2 binom(K, M)) bits for the set and M for its signs. The last ``quiet`` steps are DDIM's and
cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from baselines.codecs import _combinations, _schedule
from baselines.codecs._by_step import ByStep
from baselines.codecs._schedule import Step
from harness.errors import DamagedError
from harness.methods.codec import Choice
from harness.registry import register


@register("codec")
@dataclass(frozen=True, kw_only=True)
class Turbo(ByStep):
    """Many signed codewords a step, few steps."""

    steps: int = 20
    """Steps of the sampler, at most 1,000; the last one adds no noise."""
    codewords: int = 16384
    """Codewords a step, a power of two up to 65,536."""
    atoms: int = 5
    """Codewords in a step's sum."""
    quiet: int = 0
    """Last steps that follow the probability flow, without noise."""
    indices: Literal["set", "fixed"] = "set"
    """A step's codewords as one number for the set, or each with a field of its own (2604.05743): larger, but a
    flipped bit then changes one codeword."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.atoms <= 256:
            raise ValueError(f"Turbo: atoms must lie in 1 to 256, got {self.atoms}")
        if self.atoms > self.codewords:
            raise ValueError(f"Turbo: {self.atoms} atoms cannot be taken from {self.codewords} codewords")
        if not 0 <= self.quiet < self.steps:
            raise ValueError(f"Turbo: quiet must lie in 0 to {self.steps - 1}, below steps, got {self.quiet}")

    def walked(self) -> tuple[Step, ...]:
        """Ancestral steps, then those along the flow."""
        every = _schedule.steps(self.steps)
        loud = len(every) - self.quiet
        return (*every[:loud], *_schedule.flow(every[loud:]))

    def step_bits(self, step: Step) -> int:
        """ceil(log2 binom(K, M)) + M, or M (log2 K + 1)."""
        return self._set_bits + self.atoms

    @property
    def _set_bits(self) -> int:
        if self.indices == "fixed":
            return self.atoms * self.index_bits
        return _combinations.width(self.codewords, self.atoms)

    def _choose(self, codebook: Any, step: Step, residual: Tensor) -> tuple[int, Tensor]:
        scores_K = codebook.project(step.number, residual, self.codewords)[0]
        chosen = scores_K.abs().topk(self.atoms, sorted=False).indices.sort().values
        members = chosen.tolist()
        negative = [int(s) for s in (scores_K[chosen] < 0).tolist()]
        signs = sum(s << i for i, s in enumerate(negative))
        number = self._number_of(members) << self.atoms | signs
        return number, self._sum(codebook, step, members, signs)

    def _choice(self, codebook: Literal["hadamard", "gaussian"]) -> Choice:
        scaled = codebook == "gaussian" and self.atoms > 1
        return Choice(
            codebook=codebook, codewords=self.codewords, atoms=self.atoms, signed=True, scaled=scaled
        )

    def _noise(self, codebook: Any, step: Step, number: int) -> Tensor:
        members = self._members(number >> self.atoms)
        return self._sum(codebook, step, members, number & (1 << self.atoms) - 1)

    def _sum(self, codebook: Any, step: Step, members: list[int], signs: int) -> Tensor:
        sign = torch.tensor([[1.0 - 2.0 * (signs >> i & 1) for i in range(self.atoms)]])
        return codebook.combine(step.number, torch.tensor([members]), sign)

    def _number_of(self, members: list[int]) -> int:
        if self.indices == "fixed":
            return sum(k << i * self.index_bits for i, k in enumerate(members))
        return _combinations.rank(members)

    def _members(self, number: int) -> list[int]:
        if self.indices == "fixed":
            return [number >> i * self.index_bits & self.codewords - 1 for i in range(self.atoms)]
        if number >= _combinations.size(self.codewords, self.atoms):
            raise DamagedError("its payload names a set of codewords that there is not")
        return _combinations.members(number, self.codewords, self.atoms)

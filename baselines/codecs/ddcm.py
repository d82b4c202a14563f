"""DDCM (2502.01189; kexue.fm 10711): the noise of every DDPM step is the codeword that points to the image.

    k_t = argmax_k <C_t(k), x0 - x0_hat(x_t)>,    x_{t-1} = mu(x_t, x0_hat) + sigma_t C_t(k_t)

T - 1 indices of log2 K bits; x_T and the last step are free. The post's own rule draws k_t with probability
proportional to exp(-|C_t(k) - delta_t|^2 / 2), delta_t the noise that would lead to the posterior's mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from baselines.codecs._by_step import ByStep, codeword
from baselines.codecs._schedule import Step
from harness.methods.codec import Choice
from harness.registry import register


@register("codec")
@dataclass(frozen=True, kw_only=True)
class DDCM(ByStep):
    """One codeword a step."""

    rule: Literal["argmax", "softmax"] = "argmax"
    """The best codeword, or one drawn with the weight that importance sampling of the posterior gives it."""

    def step_bits(self, step: Step) -> int:
        """log2 K."""
        return self.index_bits

    def _choose(self, codebook: Any, step: Step, residual: Tensor) -> tuple[int, Tensor]:
        scores = codebook.project(step.number, residual, self.codewords)[0]
        if self.rule == "softmax":
            # Codewords have equal norms but for their last digits, which drop out of the weights.
            scores = scores * (step.data / step.noise) + self._gumbel(step)
        index = int(scores.argmax())
        return index, codeword(codebook, step.number, index)

    def _choice(self, codebook: Literal["hadamard", "gaussian"]) -> Choice | None:
        return Choice(codebook=codebook, codewords=self.codewords) if self.rule == "argmax" else None

    def _noise(self, codebook: Any, step: Step, number: int) -> Tensor:
        return codeword(codebook, step.number, number)

    def _gumbel(self, step: Step) -> Tensor:
        """Noise whose argmax with log-weights is a draw; the decoder needs none of it."""
        generator = np.random.Generator(np.random.Philox(key=[self.seed, step.number]))
        return torch.from_numpy(generator.gumbel(size=self.codewords).astype(np.float32))

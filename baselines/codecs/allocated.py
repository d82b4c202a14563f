"""Turbo-DDCM whose bits go where they are worth something: as many codewords a step as its residual asks for.

A step is worth KL_t = (data / noise)^2 |x0 - x0_hat|^2 / 2 nats: a noise that lies |delta| = sqrt(2 KL_t) along the
residual leads to the posterior's mean. Equal bits a step overshoot that early and starve it late. Here the number
M of codewords is the one whose signed sum comes nearest to ``share`` |delta| (the state evolution's kappa_t; 1 is
the posterior's mean): DiffC's allocation, with a quantiser of less overhead. M is sent, and nothing after ``stop``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.codecs import _combinations, _stopping, _trajectory
from baselines.codecs._by_step import codeword, power_of_two
from baselines.codecs._codebook import known_codebook, open_codebook
from baselines.codecs._range_coder import Decoder, Encoder
from baselines.codecs._schedule import Step
from baselines.codecs._stopping import Stopping
from harness.errors import DamagedError
from harness.methods.codec import Encoded
from harness.registry import register

ATOMS = (0, *sorted({int(2 ** (i / 3) + 0.5) for i in range(25)}))
"""Numbers of codewords that a step may have: three an octave, up to 256."""


@register("codec")
@dataclass(frozen=True, kw_only=True)
class Allocated(Stopping):
    """As many signed codewords as each step is worth."""

    steps: int = 25
    """Steps of the sampler, at most 1,000."""
    codewords: int = 16384
    """Codewords a step, a power of two from 256 to 65,536."""
    share: float = 1.0
    """Part of the way to the posterior's mean that each step's noise is to go."""
    codebook: str = "hadamard"
    """Where the codewords come from: hadamard or gaussian."""

    def __post_init__(self) -> None:
        super().__post_init__()
        power_of_two("Allocated", self.codewords, ATOMS[-1])
        known_codebook("Allocated", self.codebook)
        if not 0 < self.share <= 2:
            raise ValueError(f"Allocated: share must lie above 0 and up to 2, got {self.share}")

    def encode(self, image: np.ndarray, denoiser: Any) -> Encoded:
        """Walk towards the image with what each step is worth."""
        x0 = _trajectory.to_model(image, _trajectory.needed(denoiser, "allocated")).view(1, -1)
        codebook = open_codebook(self.codebook, self.seed, x0.numel(), self.codewords)
        encoder, level = Encoder(), 0

        def choose(step: Step, x0_hat: Tensor) -> Tensor:
            nonlocal level
            residual = x0 - x0_hat
            scores_K = codebook.project(step.number, residual, self.codewords)[0]
            largest = scores_K.abs().topk(ATOMS[-1])
            before, level = level, self._level(step, residual, largest.values)
            _write_change(encoder, before, level)
            members = largest.indices[: ATOMS[level]].sort().values.tolist()
            signs = [int(scores_K[k] < 0) for k in members]
            encoder.plain(_combinations.rank(members), self._set_bits(level))
            encoder.plain(sum(s << i for i, s in enumerate(signs)), ATOMS[level])
            return _noise(codebook, step, members, signs)

        reconstruction = _stopping.walk(self, self.codebook, image.shape[:2], denoiser, choose)
        payload = encoder.finish()
        return Encoded(payload=payload, bits=8 * len(payload), reconstruction=reconstruction)

    def decode(self, payload: bytes, size: tuple[int, int], denoiser: Any) -> np.ndarray:
        """Walk with the codewords that the payload names."""
        height, width = _trajectory.padded_size(size, _trajectory.needed(denoiser, "allocated"))
        codebook = open_codebook(self.codebook, self.seed, 3 * height * width, self.codewords)
        decoder, level = Decoder(payload), 0

        def read(step: Step, x0_hat: Tensor) -> Tensor:
            nonlocal level
            level = _read_change(decoder, level)
            rank = decoder.plain(self._set_bits(level))
            signs = decoder.plain(ATOMS[level])
            if decoder.left < 0:
                decoder.finish()
            if rank >= _combinations.size(self.codewords, ATOMS[level]):
                raise DamagedError("its payload names a set of codewords that there is not")
            members = _combinations.members(rank, self.codewords, ATOMS[level])
            return _noise(codebook, step, members, [signs >> i & 1 for i in range(ATOMS[level])])

        image = _stopping.walk(self, self.codebook, size, denoiser, read)
        decoder.finish()
        return image

    def _level(self, step: Step, residual: Tensor, largest_M: Tensor) -> int:
        """The number of codewords whose signed sum lies nearest to what the step is worth along the residual."""
        norm = float(residual.norm())
        wanted = self.share * step.data / step.noise * norm
        reached = largest_M.double().cumsum(0).numpy() / np.sqrt(np.arange(1, len(largest_M) + 1))
        along = np.array([0.0, *reached[[m - 1 for m in ATOMS[1:]]]]) / max(norm, 1e-30)
        return int(np.abs(along - wanted).argmin())

    def _set_bits(self, level: int) -> int:
        return _combinations.width(self.codewords, ATOMS[level])


def _noise(codebook: Any, step: Step, members: list[int], signs: list[int]) -> Tensor:
    """(1, N): the signed sum; a step without codewords takes its first."""
    if not members:
        return codeword(codebook, step.number, 0)
    sign = torch.tensor([[1.0 - 2.0 * s for s in signs]])
    return codebook.combine(step.number, torch.tensor([members]), sign)


def _write_change(encoder: Encoder, before: int, level: int) -> None:
    """Whether there is a change of level, its direction, and how large it is."""
    encoder.bit("changes", int(level != before))
    if level == before:
        return
    encoder.bit("falls", int(level < before))
    for i in range(1, abs(level - before)):
        encoder.bit(("by", min(i, 4)), 1)
    encoder.bit(("by", min(abs(level - before), 4)), 0)


def _read_change(decoder: Decoder, before: int) -> int:
    if not decoder.bit("changes"):
        return before
    sign = -1 if decoder.bit("falls") else 1
    by = 1
    while decoder.bit(("by", min(by, 4))) and by < len(ATOMS):
        by += 1
    if not 0 <= before + sign * by < len(ATOMS):
        raise DamagedError("its payload asks for more codewords than a step may have")
    return before + sign * by

"""DiffC (2206.08889; 2412.12935) in real bytes: each step sends a sample of the true posterior.

The step's noise is a draw from N(shift, I), shift = (data / noise) (x0 - x0_hat): its KL divergence from the
sampler's own N(0, I) is |shift|^2 / 2 nats. Dimensions are dealt into chunks of at most 8 bits of it, each sent
as the index of a codeword by the Poisson functional representation:

    k = argmin_k T_k / w_k,   T_k the arrivals of a Poisson process,   w_k = exp(<C(k), s> - |s|^2 / 2)

over 2^16 codewords. At 8 bits a chunk the draw reaches 98 % of its shift, later steps send what was missed, and the
distortion is the closed form's within 1 %; at the 14 bits of the published code it falls 13 % short. All that the
decoder must know is in the payload: the number of chunks, and the indices by octave (adaptive arithmetic code,
which learns what a divergence per step would tell; an octave of Zipf's law is nearly flat, so the rest is plain).
Steps below time ``stop`` send nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from baselines.codecs import _chunks, _stopping, _trajectory
from baselines.codecs._range_coder import Decoder, Encoder
from baselines.codecs._schedule import Step
from baselines.codecs._stopping import Stopping
from harness.errors import DamagedError
from harness.methods.codec import Encoded
from harness.registry import register


@register("codec")
@dataclass(frozen=True, kw_only=True)
class DiffC(Stopping):
    """Samples of the posterior, sent in chunks."""

    steps: int = 50
    """Steps of the sampler, at most 1,000."""

    def encode(self, image: np.ndarray, denoiser: Any) -> Encoded:
        """Send a sample of the posterior of each step."""
        x0 = _trajectory.to_model(image, _trajectory.needed(denoiser, "diffc")).view(1, -1)
        encoder = Encoder()
        level = 0
        draws = np.random.Generator(np.random.Philox(key=[self.seed, 1]))

        def choose(step: Step, x0_hat: Tensor) -> Tensor:
            nonlocal level
            shift = (x0 - x0_hat).mul_(step.data / step.noise)[0]
            chunks = _chunks.Chunks.for_shift(shift, step, self.seed, level)
            _write_level(encoder, level, chunks.level)
            level = chunks.level
            indices = chunks.draw(shift, draws)
            for index in indices:
                _write_index(encoder, chunks.number, index)
            return chunks.noise(indices)

        reconstruction = self._walk(image.shape[:2], denoiser, choose)
        payload = encoder.finish()
        return Encoded(payload=payload, bits=8 * len(payload), reconstruction=reconstruction)

    def decode(self, payload: bytes, size: tuple[int, int], denoiser: Any) -> np.ndarray:
        """Walk with the samples that were sent."""
        _trajectory.needed(denoiser, "diffc")
        decoder = Decoder(payload)
        level = 0

        def read(step: Step, x0_hat: Tensor) -> Tensor:
            nonlocal level
            level = _read_level(decoder, level, _chunks.highest_level(x0_hat.numel()))
            chunks = _chunks.Chunks(x0_hat.numel(), step, self.seed, level)
            indices = [_read_index(decoder, chunks.number) for _ in range(chunks.number)]
            if decoder.left < 0:
                decoder.finish()
            return chunks.noise(indices)

        image = self._walk(size, denoiser, read)
        decoder.finish()
        return image

    def _walk(self, size: tuple[int, int], denoiser: Any, chosen: Any) -> np.ndarray:
        return _stopping.walk(self, _chunks.CODEBOOK, size, denoiser, chosen)


# --- what is sent of a step ----------------------------------------------------------------------------------


def _write_level(encoder: Encoder, before: int, level: int) -> None:
    """How many levels more than the step before: chunks never become fewer."""
    for i in range(level - before):
        encoder.bit(("level", min(i, 3)), 1)
    encoder.bit(("level", min(level - before, 3)), 0)


def _read_level(decoder: Decoder, before: int, highest: int) -> int:
    level = before
    while decoder.bit(("level", min(level - before, 3))):
        level += 1
        if level > highest:
            raise DamagedError("its payload asks for more chunks than there are")
    return level


def _write_index(encoder: Encoder, number: int, index: int) -> None:
    """The octave of index + 1 bit by bit, then its place in the octave."""
    octave = (index + 1).bit_length() - 1
    for i in range(octave):
        encoder.bit((number > 1, i), 1)
    if octave < _chunks.CANDIDATE_BITS:
        encoder.bit((number > 1, octave), 0)
    encoder.plain(index + 1 - (1 << octave), octave)


def _read_index(decoder: Decoder, number: int) -> int:
    octave = 0
    while octave < _chunks.CANDIDATE_BITS and decoder.bit((number > 1, octave)):
        octave += 1
    return (1 << octave) + decoder.plain(octave) - 1

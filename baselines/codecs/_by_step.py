"""What DDCM, matching pursuit and Turbo-DDCM share: each coded step's noise is named by one whole number.

A codec says how many bits the number of a step has, how the encoder chooses it, and which noise it means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor

from baselines.codecs import _schedule, _trajectory
from baselines.codecs._bits import BitReader, BitWriter
from baselines.codecs._codebook import known_codebook, open_codebook
from baselines.codecs._schedule import Step
from harness.methods.codec import Choice, Encoded

MOST_CODEWORDS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class ByStep(ABC):
    """A codec that walks the ancestral sampler with codewords as its noise."""

    trained: ClassVar[bool] = True

    steps: int = 50
    """Steps of the sampler, at most 1,000; the last one adds no noise."""
    codewords: int = 256
    """Codewords a step, a power of two up to 65,536."""
    codebook: str = "hadamard"
    """Where the codewords come from: hadamard, all inner products in two fast transforms, or gaussian, independent
    normals as in the papers."""
    seed: int = 0
    """Which codebook of its kind."""
    coded_below: int = _schedule.TIMES
    """Only steps at times below this one, of 1,000, are coded; those before take their first codeword."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not 2 <= self.steps <= _schedule.TIMES:
            raise ValueError(f"{name}: steps must lie in 2 to {_schedule.TIMES}, got {self.steps}")
        power_of_two(name, self.codewords)
        known_codebook(name, self.codebook)
        if not 0 <= self.seed < 1 << 31:
            raise ValueError(f"{name}: seed must lie in 0 to 2^31 - 1, got {self.seed}")
        if not 0 <= self.coded_below <= _schedule.TIMES:
            raise ValueError(f"{name}: coded_below must lie in 0 to {_schedule.TIMES}, got {self.coded_below}")

    # What a codec of this family says.

    @abstractmethod
    def step_bits(self, step: Step) -> int:
        """Bits of a coded step's number."""

    @abstractmethod
    def _choose(self, codebook: Any, step: Step, residual: Tensor) -> tuple[int, Tensor]:
        """(number, its noise (1, N)) for the residual x0 - x0_hat (1, N)."""

    @abstractmethod
    def _noise(self, codebook: Any, step: Step, number: int) -> Tensor:
        """The noise (1, N) that a number means; the same arithmetic as in ``_choose``. Raises DamagedError."""

    @abstractmethod
    def _choice(self, codebook: Literal["hadamard", "gaussian"]) -> Choice | None:
        """How the noise of a coded step is chosen; None where the state evolution does not know the rule."""

    # What they share.

    def walk_of_choices(self) -> list[tuple[Step, Choice | None]] | None:
        """Each step with how its noise is chosen, for theory; None where theory does not tell."""
        choice = self._choice(cast(Literal["hadamard", "gaussian"], self.codebook))
        if choice is None:
            return None
        return [(step, choice if self.coded(step) else None) for step in self.walked()]

    @property
    def index_bits(self) -> int:
        """Bits of a codeword's index: log2 K."""
        return self.codewords.bit_length() - 1

    def walked(self) -> tuple[Step, ...]:
        """The steps of the sampler."""
        return _schedule.steps(self.steps)

    def coded(self, step: Step) -> bool:
        """Whether the file says which noise this step takes."""
        return step.noise > 0 and step.time < self.coded_below

    def payload_bits(self) -> int:
        """Bits of the payload, whatever the image: the sum over the coded steps."""
        return sum(self.step_bits(s) for s in self.walked() if self.coded(s))

    def encode(self, image: np.ndarray, denoiser: Any) -> Encoded:
        """Walk towards the image, each step's noise the best that a number of ``step_bits`` can name."""
        target = _trajectory.to_model(image, _trajectory.needed(denoiser, self.name))  # type: ignore[attr-defined]
        x0 = target.view(1, -1)
        writer = BitWriter()

        def choose(codebook: Any, step: Step, x0_hat: Tensor) -> Tensor:
            number, noise = self._choose(codebook, step, x0 - x0_hat)
            writer.write(number, self.step_bits(step))
            return noise

        reconstruction = self._walk(image.shape[:2], denoiser, choose)
        return Encoded(payload=writer.getvalue(), bits=writer.bits, reconstruction=reconstruction)

    def decode(self, payload: bytes, size: tuple[int, int], denoiser: Any) -> np.ndarray:
        """Walk with the noise that the payload names."""
        _trajectory.needed(denoiser, self.name)  # type: ignore[attr-defined]
        reader = BitReader(payload, self.payload_bits())

        def read(codebook: Any, step: Step, _: Tensor) -> Tensor:
            return self._noise(codebook, step, reader.read(self.step_bits(step)))

        return self._walk(size, denoiser, read)

    def _walk(self, size: tuple[int, int], denoiser: Any, chosen: Any) -> np.ndarray:
        padded = _trajectory.padded_size(size, denoiser)
        codebook = open_codebook(self.codebook, self.seed, 3 * padded[0] * padded[1], self.codewords)

        def choose(step: Step, x0_hat: Tensor) -> Tensor:
            return chosen(codebook, step, x0_hat) if self.coded(step) else codeword(codebook, step.number, 0)

        # x_T is a codeword, too: that of a step of its own, which the file need not name.
        start = codeword(codebook, self.steps + 1, 0)
        return _trajectory.to_image(_trajectory.walk(denoiser, self.walked(), start, padded, choose), size)


def power_of_two(name: str, K: int, least: int = 1) -> None:
    """Raises ValueError where a number of codewords is none that indices of whole bits can name."""
    if not least <= K <= MOST_CODEWORDS or K & (K - 1):
        raise ValueError(
            f"{name}: codewords must be a power of two from {least} to {MOST_CODEWORDS}, "
            f"so that an index fills whole bits, got {K}"
        )


def codeword(codebook: Any, step: int, index: int) -> Tensor:
    """(1, N): a codeword of a step."""
    return codebook.combine(step, torch.tensor([[index]]), torch.ones(1, 1))

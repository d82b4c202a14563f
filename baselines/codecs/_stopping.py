"""What codecs share that spend what a step is worth and stop at a time: their steps before it and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from baselines.codecs import _schedule, _trajectory
from baselines.codecs._by_step import codeword
from baselines.codecs._codebook import open_codebook
from baselines.codecs._schedule import Step


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """A codec whose steps below a time cost nothing."""

    trained: ClassVar[bool] = True

    steps: int = 50
    """Steps of the sampler, at most 1,000."""
    stop: int = 300
    """Time, of 1,000, below which nothing is sent: the rate."""
    output: Literal["mean", "flow", "sample"] = "mean"
    """What follows below it: the denoiser's mean at once, the probability flow, or the ancestral sampler."""
    seed: int = 0
    """Which codewords."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not 2 <= self.steps <= _schedule.TIMES:
            raise ValueError(f"{name}: steps must lie in 2 to {_schedule.TIMES}, got {self.steps}")
        if not 1 <= self.stop <= _schedule.TIMES:
            raise ValueError(f"{name}: stop must lie in 1 to {_schedule.TIMES}, got {self.stop}")
        if not 0 <= self.seed < 1 << 31:
            raise ValueError(f"{name}: seed must lie in 0 to 2^31 - 1, got {self.seed}")

    def walked(self) -> tuple[Step, ...]:
        """The steps that are walked; those that add noise and lie at ``stop`` or above are sent."""
        every = _schedule.steps(self.steps)
        sent = sum(s.time >= self.stop for s in every[:-1])
        if self.output == "mean":
            return _schedule.ended(every[: sent + 1])
        return (*every[:sent], *_schedule.flow(every[sent:])) if self.output == "flow" else every


def walk(
    codec: Any, codebook: str, size: tuple[int, int], denoiser: Any, chosen: Callable[[Step, Tensor], Tensor]
) -> np.ndarray:
    """The image at the end of a codec's steps, whose noise is ``chosen`` where a step is sent."""
    padded = _trajectory.padded_size(size, denoiser)
    words = open_codebook(codebook, codec.seed, 3 * padded[0] * padded[1], 1)

    def choose(step: Step, x0_hat: Tensor) -> Tensor:
        return chosen(step, x0_hat) if step.time >= codec.stop else codeword(words, step.number, 0)

    # x_T is a codeword of a step of its own, which the file need not name.
    start = codeword(words, codec.steps + 1, 0)
    return _trajectory.to_image(_trajectory.walk(denoiser, codec.walked(), start, padded, choose), size)

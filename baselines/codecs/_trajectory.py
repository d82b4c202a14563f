"""The walk from noise to an image that encoder and decoder share: ancestral sampling with noise of one's choice.

Whoever encodes chooses the noise by the image, whoever decodes reads the choice; all else is the same code, so
that the decoder's image is the encoder's, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.codecs._schedule import Step
from harness.errors import HarnessError

Choice = Callable[[Step, Tensor], Tensor]
"""From a step and x0_hat (1, N) to the noise (1, N) of unit variance."""


def needed(denoiser: Any, codec: str) -> Any:
    """The denoiser. Raises HarnessError where none was given."""
    if denoiser is None:
        raise HarnessError(f"codec {codec!r} needs a denoiser, for encoding and for decoding")
    return denoiser


def padded_size(size: tuple[int, int], denoiser: Any) -> tuple[int, int]:
    """(height, width), each raised to the denoiser's next multiple."""
    multiple = denoiser.multiple
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def to_model(image: np.ndarray, denoiser: Any) -> Tensor:
    """(1, 3, H, W) float32 in [-1, 1], mirrored about the last row and column up to the denoiser's multiple."""
    height, width = padded_size(image.shape[:2], denoiser)
    padding = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    pixels = np.pad(image, padding, mode="reflect").transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(127.5).sub_(1.0)[None]


def to_image(x_BCHW: Tensor, size: tuple[int, int]) -> np.ndarray:
    """(height, width, 3) uint8 of what lies before the padding."""
    pixels = x_BCHW[0, :, : size[0], : size[1]].add(1.0).mul_(127.5).round_().clamp_(0, 255)
    return np.ascontiguousarray(pixels.byte().cpu().numpy().transpose(1, 2, 0))


@torch.inference_mode()
def walk(denoiser: Any, steps: Iterable[Step], start: Tensor, size: tuple[int, int], choose: Choice) -> Tensor:
    """(1, 3, height, width) in [-1, 1] from ``start`` (1, N): one call of the denoiser a step, no other pass."""
    shape = (1, 3, *size)
    x = start.view(shape).clone()
    for step in steps:
        x0_hat = denoiser.predict(x, step.alpha_bar)
        if step.past == 0:
            return x0_hat
        x.mul_(step.past).add_(x0_hat, alpha=step.data)
        if step.noise:
            x.add_(choose(step, x0_hat.reshape(1, -1)).view(shape), alpha=step.noise)
    raise AssertionError("the last step goes to x0_hat")

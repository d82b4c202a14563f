"""Denoisers that are exact: for numbers without correlation, and for fields with a given spectrum."""

from __future__ import annotations

import numpy as np
import torch


class White:
    """E[x0 | x] for independent N(0, variance) numbers."""

    def __init__(self, multiple: int = 4, variance: float = 0.25) -> None:
        self.multiple = multiple
        self.digest = b"white\0\0" + bytes([multiple])
        self.variance = variance
        self.calls = 0

    def predict(self, x_BCHW: torch.Tensor, alpha_bar: float) -> torch.Tensor:
        self.calls += 1
        gain = alpha_bar**0.5 * self.variance / (alpha_bar * self.variance + 1 - alpha_bar)
        return x_BCHW * gain


class Stationary:
    """E[x0 | x] for Gaussian fields on a torus of ``side`` numbers whose spectrum falls as a photograph's."""

    multiple = 4
    digest = b"falling\0"

    def __init__(self, side: int, variance: float = 0.15) -> None:
        frequency = side * np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
        spectrum = 1 / (1 + (frequency / 2) ** 2) ** 1.3
        self.spectrum = torch.from_numpy(spectrum * (variance / spectrum.mean())).float()

    def sample(self, seed: int) -> np.ndarray:
        """(side, side, 3) uint8."""
        white = np.random.default_rng(seed).standard_normal((3, *self.spectrum.shape))
        field = np.fft.ifft2(np.fft.fft2(white) * self.spectrum.sqrt().numpy()).real
        return np.round((field + 1) * 127.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)

    def predict(self, x_BCHW: torch.Tensor, alpha_bar: float) -> torch.Tensor:
        gain = alpha_bar**0.5 * self.spectrum / (alpha_bar * self.spectrum + 1 - alpha_bar)
        return torch.fft.ifft2(torch.fft.fft2(x_BCHW) * gain).real.contiguous()

"""A denoiser that is exact for pixels without correlation."""

from __future__ import annotations

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

"""How near an image is to another, and what it costs: PSNR, SSIM, bits a pixel. numpy is imported when used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PEAK = 255
"""Largest value of 8 bits."""
WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation of SSIM's Gaussian window, pixels."""
K1, K2 = 0.01, 0.03
"""SSIM's constants, shares of the peak, that keep flat parts from dividing by nothing."""


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 images in dB, over all channels; inf for equal ones."""
    import numpy as np

    error = float(np.square(a.astype(np.float64) - b).mean())
    return 10 * math.log10(PEAK**2 / error) if error else math.inf


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two (height, width, channels) uint8 images of at least 11 x 11 pixels, up to 1.

    Mean over channels and over the windows that lie within the image (Wang et al. 2004, eq. 13: Gaussian window of
    11 x 11, sigma 1.5). NaN for smaller images.
    """
    import numpy as np

    if min(a.shape[:2]) < WINDOW:
        return math.nan
    x, y = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x, variance_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float((luminance * structure).mean())


def _windowed(x_HWC: np.ndarray) -> np.ndarray:
    """Gaussian means of the windows within the image: (height - 10, width - 10, channels)."""
    import numpy as np

    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        x_HWC = np.lib.stride_tricks.sliding_window_view(x_HWC, WINDOW, axis=axis) @ weights
    return x_HWC


def bits_per_pixel(num_bytes: float, image: np.ndarray) -> float:
    """Bits a pixel of so many bytes for a (height, width, channels) image."""
    return 8 * num_bytes / (image.shape[0] * image.shape[1])

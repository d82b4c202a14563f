"""PSNR and SSIM against scikit-image's."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from harness.metrics.images import bits_per_pixel, psnr, ssim


def pair(size, sd, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    a = 128 + 60 * np.sin(rows / 5)[..., None] + 40 * np.cos(columns / 7)[..., None] * [1, 0.5, -1]
    return tuple(np.clip(x, 0, 255).astype(np.uint8) for x in (a, a + sd * rng.standard_normal(a.shape)))


@pytest.mark.parametrize("size", [(11, 11), (24, 40), (64, 33)])
@pytest.mark.parametrize("sd", [2, 25])
def test_both_are_scikit_images(size, sd):
    a, b = pair(size, sd)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))
    # scikit-image means over the windows within the image, too, but filters past its edges.
    theirs = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2
    )
    assert ssim(a, b) == pytest.approx(theirs, abs=1e-6)
    assert ssim(a, b) == pytest.approx(ssim(b, a)) != pytest.approx(ssim(a, pair(size, sd, seed=1)[1]), abs=1e-6)


def test_equal_images_are_without_error_and_small_ones_without_ssim():
    a, b = pair((16, 16), 9)
    assert math.isinf(psnr(a, a)) and ssim(a, a) == 1
    assert math.isnan(ssim(a[:10], b[:10]))
    assert psnr(a, a ^ 1) == pytest.approx(10 * math.log10(255**2))


def test_bits_a_pixel_count_pixels_and_not_channels():
    assert bits_per_pixel(100, np.zeros((20, 10, 3))) == 4.0

"""The Gaussian denoiser against dense linear algebra, its own statistics, and a codec that walks along it."""

import math

import numpy as np
import pytest
import torch

from baselines.denoisers.gaussian import Gaussian, _axes, _power
from harness.codecs import coding
from harness.methods.construct import build

FIELD = Gaussian(corner=0.1)
H, W = 5, 6


def covariance():
    """(3 H W, 3 H W) of the field, entry by entry from the definition: a sum of cosines over the frequencies."""
    positions = [(h, w) for h in range(H) for w in range(W)]
    shape = {
        (i, j): (1 + ((i / H if 2 * i <= H else i / H - 1) ** 2 + (j / W if 2 * j <= W else j / W - 1) ** 2) / 0.01)
        ** (-FIELD.exponent / 2)
        for i in range(H)
        for j in range(W)
    }
    total = sum(shape.values())
    C = np.zeros((H * W, H * W))
    for a, (h, w) in enumerate(positions):
        for b, (k, v) in enumerate(positions):
            C[a, b] = sum(
                p * math.cos(2 * math.pi * (i * (h - k) / H + j * (w - v) / W)) for (i, j), p in shape.items()
            )
    C /= total
    colours = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
    share = np.array([1 - FIELD.chroma, FIELD.chroma / 2, FIELD.chroma / 2])
    return np.kron(3 * FIELD.variance * colours.T @ np.diag(share) @ colours, C)


@pytest.mark.parametrize("alpha_bar", [0.999, 0.5, 0.01])
def test_it_is_the_posterior_mean_of_the_gaussian_that_it_names(alpha_bar):
    x = torch.randn(1, 3, H, W, generator=torch.Generator().manual_seed(0))
    C = covariance()
    gain = math.sqrt(alpha_bar) * C @ np.linalg.inv(alpha_bar * C + (1 - alpha_bar) * np.eye(len(C)))
    expected = (gain @ x.flatten().double().numpy()).reshape(x.shape)
    assert np.allclose(FIELD.predict(x, alpha_bar).numpy(), expected, atol=1e-5)
    assert np.trace(C) / len(C) == pytest.approx(FIELD.variance)


def test_its_limits_are_the_image_and_the_mean():
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(FIELD.predict(x, 1.0), x, atol=1e-5)
    assert FIELD.predict(x, 1e-12).abs().max() < 1e-3


def test_on_its_own_field_its_error_is_the_closed_form():
    """Mean over frequencies of S (1 - a) / (a S + 1 - a), by draws of image and noise."""
    generator, size, a = torch.Generator().manual_seed(2), (64, 64), 0.3
    white = torch.randn(16, 3, *size, generator=generator)
    power = _power(FIELD, *size)
    x0 = torch.einsum("ac,bahw->bchw", _axes(), torch.fft.irfft2(torch.fft.rfft2(white) * power.sqrt(), s=size))
    noisy = math.sqrt(a) * x0 + math.sqrt(1 - a) * torch.randn(x0.shape, generator=generator)
    error = (FIELD.predict(noisy, a) - x0).square().mean().item()
    whole = torch.cat([power, power[:, :, 1:-1]], 2)
    assert error == pytest.approx((whole * (1 - a) / (a * whole + 1 - a)).mean().item(), rel=0.03)


def test_every_field_is_in_the_digest():
    digests = {
        Gaussian(**fields).digest
        for fields in ({}, {"variance": 0.2}, {"corner": 0.02}, {"exponent": 2.0}, {"chroma": 0.1})
    }
    assert len(digests) == 5 and Gaussian().digest == Gaussian().digest


@pytest.mark.parametrize("wrong", [{"variance": 0.0}, {"corner": -1.0}, {"exponent": math.inf}, {"chroma": 1.0}])
def test_values_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Gaussian(**wrong)


@pytest.mark.parametrize("codec", ["ddcm", "turbo", "matching_pursuit", "diffc", "allocated"])
def test_diffusion_codecs_decode_along_it_bit_for_bit_and_better_than_grey(codec):
    rows, columns = np.mgrid[:40, :48]
    image = np.stack([rows * 5, columns * 4, 255 - rows * 3 - columns], -1).clip(0, 255).astype(np.uint8)
    method, denoiser = build("codec", {"name": codec, "steps": 12}), Gaussian()
    done = coding.encode(method, image, denoiser)
    found = coding.decode(done.file, denoiser)
    assert np.array_equal(found.image, done.encoded.reconstruction) and not found.warning
    error = np.square(found.image.astype(float) - image).mean()
    assert error < 0.85 * np.square(image.astype(float) - 127.5).mean()

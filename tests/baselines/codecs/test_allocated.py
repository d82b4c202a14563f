"""Bits where they are worth something: how many codewords a step has, what that costs, and what it gains."""

import math

import numpy as np
import pytest
import torch

from baselines.codecs import allocated
from baselines.codecs._codebook import open_codebook
from harness.errors import DamagedError, PluginError
from harness.methods.construct import build
from tests.baselines.codecs.gaussian import Stationary, White


@pytest.mark.parametrize("output", ["mean", "flow", "sample"])
@pytest.mark.parametrize("size", [(16, 16), (13, 22), (3, 1), (1, 1)])
def test_the_decoders_image_is_the_encoders_bit_for_bit(output, size):
    codec = build("codec", {"name": "allocated", "steps": 10, "stop": 400, "output": output})
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    encoded = codec.encode(image, White())
    assert encoded.bits == 8 * len(encoded.payload)
    assert np.array_equal(codec.decode(encoded.payload, size, White()), encoded.reconstruction)


def test_a_step_takes_the_number_of_codewords_that_leads_nearest_to_the_posteriors_mean():
    codec = build("codec", {"name": "allocated", "steps": 20, "codewords": 1024})
    step = codec.walked()[12]
    codebook = open_codebook("hadamard", 0, 3072, 1024)
    for scale in (0.001, 0.1, 0.4, 1.0, 3.0):
        residual = scale * torch.randn(1, 3072, generator=torch.Generator().manual_seed(0))
        scores = codebook.project(step.number, residual, 1024)[0]
        order = scores.abs().argsort(descending=True)
        level = codec._level(step, residual, scores.abs()[order[:256]])
        wanted = step.data / step.noise * float(residual.norm())
        off = []
        for M in allocated.ATOMS:
            members = order[:M].sort().values
            sign = scores[members].sign()[None]
            noise = codebook.combine(step.number, members[None], sign) if M else residual * 0
            off.append(abs(float((noise * residual).sum() / residual.norm()) - wanted))
        assert level == int(np.argmin(off))
    assert allocated.ATOMS[level] == 256


def test_the_posteriors_mean_costs_what_it_is_worth():
    """Bits over divergence: a signed sum pays 1.1 to 1.9 times what it reaches, side information and all."""
    source = Stationary(64)
    codec = build("codec", {"name": "allocated", "steps": 25, "stop": 300})
    image = source.sample(0)
    bits = codec.encode(image, source).bits
    end = codec.walked()[-1].alpha_bar
    information = 3 * 0.5 * np.log2(1 + end * source.spectrum.numpy() / (1 - end)).sum()
    assert 1.1 * information < bits < 1.9 * information


@pytest.mark.parametrize("atoms", [1, 5])
def test_it_gains_a_decibel_over_equal_bits_a_step(atoms):
    """On a source with a photograph's spectrum, three draws, at no more bits."""
    source = Stationary(64)
    equal = build("codec", {"name": "turbo", "steps": 20, "atoms": atoms})
    stop = {1: 480, 5: 280}[atoms]
    ours = build("codec", {"name": "allocated", "steps": 25, "stop": stop})
    gains = []
    for seed in range(3):
        image = source.sample(seed)
        errors, bits = [], []
        for codec in (equal, ours):
            encoded = codec.encode(image, source)
            errors.append(np.square(encoded.reconstruction.astype(float) - image).mean())
            bits.append(encoded.bits)
        assert bits[1] <= bits[0]
        gains.append(10 * math.log10(errors[0] / errors[1]))
    assert np.mean(gains) > 0.7


def test_damage_is_told():
    codec = build("codec", {"name": "allocated", "steps": 10, "stop": 300, "codewords": 256})
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    payload = codec.encode(image, White()).payload
    with pytest.raises(DamagedError, match="its payload ends before the image does"):
        codec.decode(payload[: len(payload) // 2], (32, 32), White())
    with pytest.raises(DamagedError, match="its payload goes on after the image ends"):
        codec.decode(payload + b"\1" * 9, (32, 32), White())
    with pytest.raises(DamagedError, match="asks for more codewords than a step may have"):
        codec.decode(b"\xff" * 40, (32, 32), White())


@pytest.mark.parametrize(("config", "message"), [
    ({"steps": 1}, "Allocated: steps must lie in 2 to 1000, got 1"),
    ({"stop": 0}, "Allocated: stop must lie in 1 to 1000, got 0"),
    ({"codewords": 128}, "Allocated: codewords must be a power of two from 256 to 65536"),
    ({"codewords": 1000}, "Allocated: codewords must be a power of two from 256"),
    ({"share": 0.0}, "Allocated: share must lie above 0 and up to 2, got 0.0"),
    ({"seed": -1}, "Allocated: seed must lie in 0 to 2^31 - 1, got -1"),
])  # fmt: skip
def test_what_it_refuses(config, message):
    with pytest.raises(PluginError) as caught:
        build("codec", {"name": "allocated", **config})
    assert message in str(caught.value)

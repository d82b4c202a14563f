"""DiffC: chunks hold at most 8 bits, the draws are the posterior's, and the payload is all there is."""

import math

import numpy as np
import pytest
import torch

from baselines.codecs import _chunks, _schedule
from harness.errors import DamagedError, HarnessError, PluginError
from harness.methods.construct import build
from tests.baselines.codecs.gaussian import White

STEP = _schedule.steps(50)[20]
LN2 = math.log(2)


def image_of(size, seed=0, sd=64.0):
    pixels = 127.5 + sd * np.random.default_rng(seed).standard_normal((*size, 3))
    return pixels.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("output", ["mean", "flow", "sample"])
@pytest.mark.parametrize("size", [(16, 16), (13, 22), (3, 1), (1, 1)])
def test_the_decoders_image_is_the_encoders_bit_for_bit(output, size):
    codec = build("codec", {"name": "diffc", "steps": 10, "stop": 500, "output": output})
    encoded = codec.encode(image_of(size), White())
    assert encoded.reconstruction.shape == (*size, 3)
    assert encoded.bits == 8 * len(encoded.payload)
    assert np.array_equal(codec.decode(encoded.payload, size, White()), encoded.reconstruction)


def test_the_mean_stops_at_once_and_the_flow_walks_on():
    calls = {}
    for output in ("mean", "flow", "sample"):
        denoiser = White()
        codec = build("codec", {"name": "diffc", "steps": 10, "stop": 500, "output": output})
        codec.encode(image_of((8, 8)), denoiser)
        calls[output] = denoiser.calls
    # Times 999, 888, 777, 666, 555 send; the mean is that at time 444.
    assert calls == {"mean": 6, "flow": 10, "sample": 10}


def test_a_step_at_the_stop_is_sent():
    at, above = (build("codec", {"name": "diffc", "steps": 10, "stop": stop}) for stop in (555, 500))
    image = image_of((16, 16))
    assert at.encode(image, White()).payload == above.encode(image, White()).payload


def shift_of(bits, size, seed):
    x = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    return x * math.sqrt(2 * bits * LN2 / float(x.square().sum()))


@pytest.mark.parametrize("bits", [0.0, 3.0, 8.0, 9.0, 200.0])
def test_chunks_are_few_and_none_holds_more_than_8_bits(bits):
    shift = shift_of(bits, 8192, 1)
    chunks = _chunks.Chunks.for_shift(shift, STEP, 0, 0)
    held = chunks._dealt(shift).double().square().sum(1) / 2 / LN2
    assert float(held.sum()) == pytest.approx(bits, abs=1e-4)
    assert float(held.max()) <= 8 + 1e-6
    assert bits / 8 <= chunks.number <= max(1, 1.6 * bits / 8 + 1)


def test_energy_in_one_place_is_dealt_to_many_chunks():
    shift = torch.zeros(8192)
    shift[:512] = shift_of(100, 512, 2)
    chunks = _chunks.Chunks.for_shift(shift, STEP, 0, 0)
    assert chunks.number <= 40


def test_more_than_chunks_can_hold_is_refused_with_the_cure():
    with pytest.raises(HarnessError, match=r"the step at time \d+ has 9,000 bits .* set stop above \d+"):
        _chunks.Chunks.for_shift(shift_of(9000, 1024, 3), STEP, 0, 0)


def drawn(bits, dims, number, seed):
    """(mean of <z, s> / |s|^2, variance of z along s and of all, mean log2 of index + 1) over chunks."""
    level = _chunks.LEVELS.index(number)
    s = torch.stack([shift_of(bits, dims, 100 + i) for i in range(number)])
    chunks = _chunks.Chunks(number * dims, STEP, seed, level)
    flat = torch.empty(number * dims)
    flat[chunks._order] = s.view(-1) * chunks._signs
    assert torch.allclose(chunks._dealt(flat), s)
    indices = chunks.draw(flat, np.random.default_rng(seed))
    z = chunks._dealt(chunks.noise(indices)[0])
    along = (z * s).sum(1) / s.norm(dim=1)
    gain = float(along.mean() / s.norm(dim=1).mean())
    return gain, float(along.var()), float(z.var()), float(np.log2(np.array(indices) + 1).mean())


@pytest.mark.parametrize("bits", [1.0, 4.0, 8.0])
def test_draws_have_the_posteriors_mean_and_variance(bits):
    """2^16 independent normal candidates reach .978 +- .004 of 8 bits' shift, with variance .86 along it."""
    number, dims = 2048, 64
    gain, along, every, octave = drawn(bits, dims, number, seed=0)
    error = 1 / math.sqrt(2 * bits * LN2 * number)
    ideal, spread = (0.978, 0.86) if bits == 8 else (1.0, 1.0)
    assert abs(gain - ideal) < 0.01 + 3 * error
    assert along == pytest.approx(spread, abs=0.1)
    assert every == pytest.approx(1 + (2 * bits * LN2) / dims, abs=0.03)
    # The index costs the divergence, about; what is paid beyond it is in its entropy code.
    assert bits - 1.6 < octave < bits + 1.5


def test_chunks_that_take_the_same_candidate_have_radii_of_their_own():
    """The squared norm of d normal numbers over d has variance 2 / d, whoever shares their direction."""
    number, dims = 512, 64
    chunks = _chunks.Chunks(number * dims, STEP, 0, _chunks.LEVELS.index(number))
    squared = chunks._dealt(chunks.noise([0] * number)[0]).square().mean(1)
    assert float(squared.mean()) == pytest.approx(1, abs=0.03)
    assert float(squared.var()) == pytest.approx(2 / dims, rel=0.25)


def test_a_white_source_reaches_the_closed_form():
    """D_MMSE = l (1 - a) / (a l + 1 - a) at the stop's alpha_bar; R = 1/2 log2(1 + a l / (1 - a)) and overhead."""
    size, variance = (48, 48), 0.25
    codec = build("codec", {"name": "diffc", "steps": 100, "stop": 300, "output": "mean"})
    end = codec.walked()[-1].alpha_bar
    image = image_of(size, sd=127.5 * math.sqrt(variance))
    encoded = codec.encode(image, White(variance=variance))
    numbers = image.size
    # Clipping takes some of the variance away.
    actual = float(np.square(image / 127.5 - 1).mean())
    distortion = float(np.square((encoded.reconstruction.astype(float) - image) / 127.5).mean())
    gain = math.sqrt(end) * variance / (end * variance + 1 - end)
    wanted = actual * (1 - gain * math.sqrt(end)) ** 2 + gain**2 * (1 - end)
    assert distortion == pytest.approx(wanted, rel=0.02)
    information = numbers * 0.5 * math.log2(1 + end * actual / (1 - end))
    assert 1.1 * information < encoded.bits < 1.8 * information


def test_a_payload_that_ends_early_or_in_zeros_is_damage():
    codec = build("codec", {"name": "diffc", "steps": 20, "stop": 400})
    encoded = codec.encode(image_of((32, 32)), White())
    with pytest.raises(DamagedError, match="its payload ends before the image does"):
        codec.decode(encoded.payload[: len(encoded.payload) // 2], (32, 32), White())
    with pytest.raises(DamagedError, match="its payload goes on after the image ends"):
        codec.decode(encoded.payload + b"\0", (32, 32), White())
    with pytest.raises(DamagedError, match="asks for more chunks than there are"):
        codec.decode(b"\xff" * 40, (4, 4), White())


@pytest.mark.parametrize(("config", "message"), [
    ({"steps": 1}, "steps must lie in 2 to 1000, got 1"),
    ({"stop": 0}, "stop must lie in 1 to 1000, got 0"),
    ({"stop": 1001}, "stop must lie in 1 to 1000, got 1001"),
    ({"seed": -1}, "seed must lie in 0 to 2^31 - 1, got -1"),
    ({"output": "best"}, "'mean', 'flow' or 'sample'"),
])  # fmt: skip
def test_what_it_refuses(config, message):
    with pytest.raises(PluginError) as caught:
        build("codec", {"name": "diffc", **config})
    assert message in str(caught.value)

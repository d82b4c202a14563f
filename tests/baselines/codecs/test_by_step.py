"""DDCM, matching pursuit and Turbo against their definitions, written a second time here."""

import math

import numpy as np
import pytest
import torch

from baselines.codecs import _schedule, _trajectory
from baselines.codecs._bits import BitReader
from baselines.codecs._codebook import open_codebook
from harness.errors import DamagedError, HarnessError, PluginError
from harness.methods.construct import build
from tests.baselines.codecs.gaussian import White

SIZES = ((16, 16), (13, 22), (3, 1), (1, 1))
CODECS = (
    {"name": "ddcm", "steps": 6, "codewords": 16},
    {"name": "ddcm", "steps": 6, "codewords": 16, "rule": "softmax"},
    {"name": "ddcm", "steps": 6, "codewords": 1},
    {"name": "ddcm", "steps": 6, "codewords": 16, "coded_below": 700},
    {"name": "matching_pursuit", "steps": 6, "codewords": 16, "atoms": 3, "coefficient_bits": 2},
    {"name": "matching_pursuit", "steps": 4, "codewords": 32, "atoms": 5, "coefficient_bits": 4},
    {"name": "turbo", "steps": 6, "codewords": 64, "atoms": 5},
    {"name": "turbo", "steps": 6, "codewords": 64, "atoms": 1, "quiet": 2},
    {"name": "turbo", "steps": 6, "codewords": 64, "atoms": 64},
    {"name": "turbo", "steps": 6, "codewords": 64, "atoms": 5, "indices": "fixed"},
)
IDS = [" ".join(str(v) for v in c.values()) for c in CODECS]


def image_of(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def book(codec, size):
    """The codebook of an image of this padded size."""
    return open_codebook(codec.codebook, codec.seed, 3 * size[0] * size[1], codec.codewords)


def words_of(codebook, step, K):
    """(K, N): the codewords of a step."""
    return torch.cat([codebook.combine(step.number, torch.tensor([[k]]), torch.ones(1, 1)) for k in range(K)])


@pytest.mark.parametrize("config", CODECS, ids=IDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_decoders_image_is_the_encoders_bit_for_bit(config, size):
    codec = build("codec", config)
    encoded = codec.encode(image_of(size), White())
    assert encoded.reconstruction.shape == (*size, 3)
    assert np.array_equal(codec.decode(encoded.payload, size, White()), encoded.reconstruction)


@pytest.mark.parametrize("config", CODECS, ids=IDS)
def test_a_step_costs_one_call_of_the_denoiser(config):
    codec, denoiser = build("codec", config), White()
    encoded = codec.encode(image_of((8, 8)), denoiser)
    assert denoiser.calls == config["steps"]
    codec.decode(encoded.payload, (8, 8), denoiser)
    assert denoiser.calls == 2 * config["steps"]


@pytest.mark.parametrize(("config", "bits"), [
    ({"name": "ddcm", "steps": 50, "codewords": 64}, 49 * 6),
    ({"name": "ddcm", "steps": 50, "codewords": 1}, 0),
    ({"name": "ddcm", "steps": 100, "codewords": 4096}, 99 * 12),
    # Times 999, 888, 777, ...: eight of the ten are below 800, the last of them adds no noise.
    ({"name": "ddcm", "steps": 10, "codewords": 256, "coded_below": 800}, 7 * 8),
    ({"name": "ddcm", "steps": 10, "codewords": 256, "coded_below": 888}, 7 * 8),
    ({"name": "matching_pursuit", "steps": 25, "codewords": 256}, 24 * (3 * 8 + 2 * 3)),
    ({"name": "turbo"}, 19 * (math.ceil(math.log2(math.comb(16384, 5))) + 5)),
    ({"name": "turbo", "atoms": 60, "quiet": 3}, 17 * (math.ceil(math.log2(math.comb(16384, 60))) + 60)),
    ({"name": "turbo", "atoms": 60, "indices": "fixed"}, 19 * 60 * 15),
])  # fmt: skip
def test_bits_are_those_of_the_formula(config, bits):
    codec = build("codec", config)
    assert codec.payload_bits() == bits
    encoded = codec.encode(image_of((128, 128)) if config["name"] == "turbo" else image_of((64, 64)), White())
    assert encoded.bits == bits
    assert len(encoded.payload) == math.ceil(bits / 8)


def indices_in(codec, payload):
    reader = BitReader(payload, codec.payload_bits())
    return [reader.read(codec.index_bits) for s in codec.walked() if codec.coded(s)]


def test_ddcm_with_given_indices_is_the_ancestral_sampler_fed_with_those_codewords():
    codec, denoiser, size = build("codec", {"name": "ddcm", "steps": 12, "codewords": 32}), White(), (8, 12)
    encoded = codec.encode(image_of(size), denoiser)
    codebook = book(codec, size)

    def codeword(step, k):
        return codebook.combine(step, torch.tensor([[k]]), torch.ones(1, 1)).view(1, 3, *size)

    indices = iter(indices_in(codec, encoded.payload))
    betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    alpha_bar = np.cumprod(1 - np.array(betas))
    times = [round(999 - 999 * i / 11) for i in range(12)]
    x = codeword(13, 0)
    for i, t in enumerate(times):
        now, before = float(alpha_bar[t]), float(alpha_bar[times[i + 1]]) if i < 11 else 1.0
        x0_hat = denoiser.predict(x, now)
        if before == 1.0:
            break
        beta = 1 - now / before
        mean = (x * (math.sqrt(now / before) * (1 - before) / (1 - now))).add_(
            x0_hat, alpha=math.sqrt(before) * beta / (1 - now)
        )
        sigma = math.sqrt(beta * (1 - before) / (1 - now))
        x = mean.add_(codeword(12 - i, next(indices)), alpha=sigma)
    assert not list(indices)
    assert np.array_equal(_trajectory.to_image(x0_hat, size), codec.decode(encoded.payload, size, denoiser))


def test_each_index_of_ddcm_is_the_argmax_of_the_inner_products():
    codec, size = build("codec", {"name": "ddcm", "steps": 8, "codewords": 32}), (8, 8)
    image, denoiser = image_of(size), White()
    encoded = codec.encode(image, denoiser)
    codebook = book(codec, size)
    target = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1)[None]
    found = []

    def choose(step, x0_hat):
        words = words_of(codebook, step, 32)
        found.append(int((words @ (target.reshape(-1) - x0_hat[0])).argmax()))
        return words[found[-1]][None]

    start = codebook.combine(9, torch.tensor([[0]]), torch.ones(1, 1))
    _trajectory.walk(denoiser, codec.walked(), start, size, choose)
    assert found == indices_in(codec, encoded.payload)


def test_one_codeword_gives_one_picture():
    codec = build("codec", {"name": "ddcm", "steps": 6, "codewords": 1})
    pictures = [codec.encode(image_of((8, 8), seed), White()).reconstruction for seed in (0, 1)]
    assert np.array_equal(*pictures)
    other = build("codec", {"name": "ddcm", "steps": 6, "codewords": 1, "seed": 1})
    assert not np.array_equal(other.encode(image_of((8, 8)), White()).reconstruction, pictures[0])


def test_more_codewords_come_closer():
    image = (128 + 40 * np.random.default_rng(0).standard_normal((32, 32, 3))).clip(0, 255).astype(np.uint8)
    errors = []
    for K in (1, 16, 256, 4096):
        codec = build("codec", {"name": "ddcm", "steps": 60, "codewords": K})
        found = codec.encode(image, White(variance=0.1)).reconstruction
        errors.append(float(np.square(found.astype(float) - image).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.75 * errors[0]


def test_softmax_draws_by_the_posteriors_weights():
    """Over seeds, the share of the likeliest index, of the second, ... is that of exp(<C, delta>)."""
    size, counts = (4, 4), np.zeros(4)
    codec = build("codec", {"name": "ddcm", "steps": 40, "codewords": 4, "rule": "softmax"})
    step = codec.walked()[20]
    residual = torch.linspace(-2, 2, 48)[None]
    weights = np.zeros(4)
    for seed in range(2000):
        one = build("codec", {"name": "ddcm", "steps": 40, "codewords": 4, "rule": "softmax", "seed": seed})
        codebook = book(one, size)
        index, _ = one._choose(codebook, step, residual)
        scores = codebook.project(step.number, residual, 4)[0].double() * (step.data / step.noise)
        likely = torch.softmax(scores, 0).sort(descending=True)
        weights += likely.values.numpy()
        counts[likely.indices.tolist().index(index)] += 1
    chi_squared = ((counts - weights) ** 2 / weights).sum()
    assert chi_squared < 16.3  # 99.9 % of chi-squared with 3 degrees of freedom


# --- matching pursuit ----------------------------------------------------------------------------------------


def test_matching_pursuit_takes_the_best_of_all_codewords_and_coefficients():
    config = {"name": "matching_pursuit", "steps": 6, "codewords": 16, "atoms": 3, "coefficient_bits": 2}
    codec = build("codec", config)
    size = (8, 8)
    codebook, step = book(codec, size), codec.walked()[2]
    words = words_of(codebook, step, 16)
    entered = 0
    for seed in range(8):
        residual = torch.randn(1, 192, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)
        number, noise = codec._choose(codebook, step, residual)
        best = words[int((words @ residual[0]).argmax())]
        fields = [int((words @ residual[0]).argmax())]
        for _ in range(2):
            value, at, mix = float(best @ residual[0]), None, None
            for c in (1, 2, 3):
                for k in range(16):
                    new = math.sqrt(c / 3) * best + math.sqrt(1 - c / 3) * words[k]
                    new = new / new.square().mean().sqrt()
                    if float(new @ residual[0]) > value * (1 + 1e-6):
                        value, at, mix = float(new @ residual[0]), (k, c), new
            if at is None:
                break
            entered += 1
            fields.append(at)
            best = mix
        read = [number >> 12, (number >> 8 & 15, number >> 6 & 3), (number >> 2 & 15, number & 3)]
        assert read[: len(fields)] == fields
        torch.testing.assert_close(noise[0], best, rtol=1e-4, atol=1e-4)
        assert torch.equal(codec._noise(codebook, step, number), noise)
    assert entered > 8


def test_matching_pursuit_with_one_coefficient_bit_is_refused():
    with pytest.raises(PluginError, match="with 1 the only coefficient is 1 and a second atom can never enter"):
        build("codec", {"name": "matching_pursuit", "coefficient_bits": 1})


# --- Turbo ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indices", ["set", "fixed"])
def test_turbo_sums_the_codewords_of_largest_inner_product_with_their_signs(indices):
    codec = build("codec", {"name": "turbo", "steps": 6, "codewords": 64, "atoms": 7, "indices": indices})
    codebook, step = book(codec, (8, 8)), codec.walked()[2]
    words = words_of(codebook, step, 64)
    residual = torch.randn(1, 192, generator=torch.Generator().manual_seed(5))
    number, noise = codec._choose(codebook, step, residual)
    assert torch.equal(codec._noise(codebook, step, number), noise)
    u = words @ residual[0]
    chosen = u.abs().argsort(descending=True)[:7]
    wanted = (words[chosen] * u[chosen].sign()[:, None]).sum(0)
    torch.testing.assert_close(noise[0] / noise.norm(), wanted / wanted.norm(), rtol=1e-4, atol=1e-5)
    assert 0.7 < float(noise.square().mean()) < 1.4
    assert 0 <= number < 1 << codec.step_bits(step)


def test_a_flipped_bit_of_a_fixed_field_changes_one_codeword():
    codec = build("codec", {"name": "turbo", "steps": 4, "codewords": 64, "atoms": 5, "indices": "fixed"})
    number = sum(k << 6 * i for i, k in enumerate([3, 9, 27, 40, 63]))
    assert codec._members(number) == [3, 9, 27, 40, 63]
    assert codec._members(number ^ 1 << 8) == [3, 13, 27, 40, 63]


def test_a_set_that_there_is_not_is_damage():
    codec = build("codec", {"name": "turbo", "steps": 2, "codewords": 64, "atoms": 5})
    assert math.comb(64, 5) < 1 << 23
    payload = b"\xff\xff\xff\xf0"
    assert len(payload) == -(-codec.payload_bits() // 8)
    with pytest.raises(DamagedError, match="its payload names a set of codewords that there is not"):
        codec.decode(payload, (8, 8), White())


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("config", "message"), [
    ({"name": "ddcm", "codewords": 100}, "codewords must be a power of two from 1 to 65536, so that"),
    ({"name": "ddcm", "codewords": 0}, "codewords must be a power of two"),
    ({"name": "ddcm", "codewords": 1 << 17}, "codewords must be a power of two from 1 to 65536"),
    ({"name": "ddcm", "steps": 1}, "steps must lie in 2 to 1000, got 1"),
    ({"name": "ddcm", "steps": 1001}, "steps must lie in 2 to 1000, got 1001"),
    ({"name": "ddcm", "seed": -1}, "seed must lie in 0 to 2^31 - 1, got -1"),
    ({"name": "ddcm", "coded_below": 1001}, "coded_below must lie in 0 to 1000, got 1001"),
    ({"name": "ddcm", "rule": "best"}, "'argmax' or 'softmax'"),
    ({"name": "turbo", "atoms": 65, "codewords": 64}, "65 atoms cannot be taken from 64 codewords"),
    ({"name": "turbo", "atoms": 0}, "atoms must lie in 1 to 256, got 0"),
    ({"name": "turbo", "quiet": 20}, "quiet must lie in 0 to 19, below steps, got 20"),
    ({"name": "matching_pursuit", "atoms": 17, "codewords": 16}, "17 atoms cannot be taken from 16 codewords"),
    ({"name": "matching_pursuit", "atoms": 65}, "atoms must lie in 1 to 64, got 65"),
    ({"name": "matching_pursuit", "coefficient_bits": 9}, "coefficient_bits must lie in 2 to 8"),
])  # fmt: skip
def test_what_a_codec_refuses(config, message):
    with pytest.raises(PluginError) as caught:
        build("codec", config)
    assert message in str(caught.value)


def test_a_codec_without_its_denoiser_says_so():
    codec = build("codec", {"name": "ddcm"})
    with pytest.raises(HarnessError, match="codec 'ddcm' needs a denoiser, for encoding and for decoding"):
        codec.encode(image_of((4, 4)), None)
    with pytest.raises(HarnessError, match="codec 'ddcm' needs a denoiser"):
        codec.decode(b"", (4, 4), None)


# --- schedule ------------------------------------------------------------------------------------------------


def test_the_posterior_keeps_the_marginals():
    """x_t = sqrt(a) x0 + sqrt(1 - a) e goes to the same law at the step before, for any schedule."""
    for count in (2, 7, 50, 1000):
        steps = _schedule.steps(count)
        assert steps[0].time == 999 and steps[-1].time == 0
        assert [s.number for s in steps] == list(range(count, 0, -1))
        for kind in (steps, _schedule.flow(steps)):
            for i, step in enumerate(kind):
                before = steps[i + 1].alpha_bar if i + 1 < count else 1.0
                now = step.alpha_bar
                assert step.data + step.past * math.sqrt(now) == pytest.approx(math.sqrt(before), abs=1e-9)
                spread = step.past**2 * (1 - now) + step.noise**2
                assert spread == pytest.approx(1 - before, abs=1e-9)
        assert (steps[-1].data, steps[-1].past, steps[-1].noise) == (1.0, 0.0, 0.0)
        assert all(s.noise > 0 for s in steps[:-1])
        assert all(s.noise == 0 for s in _schedule.flow(steps))


def test_sides_are_mirrored_to_the_multiple_and_cut_again():
    image = image_of((3, 6))
    x = _trajectory.to_model(image, White(multiple=8))
    assert x.shape == (1, 3, 8, 8)
    assert torch.equal(x[..., 3, :6], x[..., 1, :6])
    assert torch.equal(x[..., 6], x[..., 4])
    assert np.array_equal(_trajectory.to_image(x, (3, 6)), image)

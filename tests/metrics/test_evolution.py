"""The state evolution against the codecs' own code, and its sensitivity to a wrong sign, shift or length."""

import math

import numpy as np
import pytest
import torch

from harness.methods.codec import Choice
from harness.methods.construct import build
from harness.metrics import evolution
from harness.metrics.evolution import evolved, shift, top_sum
from harness.trial import Trial
from harness.workload import Context
from harness.workloads import gaussian_codec

WHITE = gaussian_codec.Config.model_fields["denoiser"].default
FALLING = {"name": "gaussian", "variance": 0.05, "corner": 0.15}
POINTS = {
    "ddcm": ({"name": "ddcm", "steps": 100, "codewords": 256}, WHITE, 24),
    "ddcm on a falling spectrum": ({"name": "ddcm", "steps": 60, "codewords": 1024}, FALLING, 56),
    "ddcm coded below 800": ({"name": "ddcm", "steps": 100, "codewords": 256, "coded_below": 800}, WHITE, 24),
    "normals": ({"name": "ddcm", "steps": 50, "codewords": 16, "codebook": "gaussian"}, WHITE, 24),
    "mixes": ({"name": "matching_pursuit", "steps": 50, "codewords": 256}, WHITE, 24),
    "signed sums": ({"name": "turbo", "steps": 20, "codewords": 4096, "atoms": 8}, WHITE, 40),
    "many signed sums": ({"name": "turbo", "steps": 20, "codewords": 16384, "atoms": 45}, FALLING, 40),
    "sums of normals": (
        {"name": "turbo", "steps": 10, "codewords": 256, "atoms": 4, "codebook": "gaussian"}, WHITE, 24
    ),
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Point -> metrics of 4,107 values through the codec's own encoder and decoder."""
    folder, out = tmp_path_factory.mktemp("simulated"), {}
    for name, (codec, denoiser, repeats) in POINTS.items():
        config = gaussian_codec.Config(codec=codec, denoiser=denoiser, repeats=repeats)
        context = Context(data_folder=folder, work_folder=folder, artifact_folder=folder)
        out[name] = gaussian_codec.run(Trial(workload="gaussian_codec", config={}, seed=0), config, context).metrics
    return out


def predicted(name):
    codec, denoiser, _ = POINTS[name]
    variances = build("denoiser", denoiser).variances(37, 37).numpy()
    return evolved(variances, build("codec", codec).walk_of_choices()) / variances.mean()


@pytest.mark.parametrize("name", POINTS)
def test_simulated_codecs_lie_within_two_percent_of_their_state_evolution(simulated, name):
    found = simulated[name]
    assert found["distortion_error"] < 0.005 * found["distortion"]
    assert found["distortion_predicted"] == predicted(name)
    assert abs(found["distortion"] / predicted(name) - 1) < 0.02 and found["deviation"] < 0.02
    assert found["decoder_equal"] == 1.0


MUTATIONS = {
    "no square root of M": lambda right, choice: right(choice) * math.sqrt(choice.atoms),
    "m_K of one codeword more in four": lambda right, choice: 1.12 * right(choice),
    "sqrt(2 ln K) for m_K": lambda right, choice: math.sqrt(2 * math.log(choice.codewords)),
    "a sign": lambda right, choice: -right(choice),
    "nothing chosen": lambda right, choice: 0.0,
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_fault_in_the_shift_is_far_from_the_simulation(simulated, monkeypatch, mutation):
    right = evolution.shift
    monkeypatch.setattr(evolution, "shift", lambda choice: MUTATIONS[mutation](right, choice))
    name = "signed sums" if "square root" in mutation else "ddcm on a falling spectrum"
    assert abs(simulated[name]["distortion"] / predicted(name) - 1) > 0.04


def test_the_length_of_many_summed_rows_shows(simulated, monkeypatch):
    """Rows of a transform of 8,192 places, of which 4,107 are used, are not of length sqrt n there."""
    monkeypatch.setattr(evolution, "_lengths", lambda c, n: (shift(c), (n - shift(c) ** 2) / (n - 1)))
    assert simulated["many signed sums"]["distortion"] / predicted("many signed sums") > 1.06


# --- the shift -------------------------------------------------------------------------------------------------


def test_largest_of_few_normals_have_closed_forms():
    root = math.sqrt(math.pi)
    assert [top_sum(K, 1, False) for K in (1, 2, 3)] == pytest.approx([0, 1 / root, 1.5 / root], abs=1e-7)
    assert top_sum(7, 7, False) == pytest.approx(0, abs=1e-7)
    assert top_sum(7, 7, True) == pytest.approx(7 * math.sqrt(2 / math.pi))
    assert top_sum(2, 1, True) == pytest.approx(2 / root)


def test_the_published_table_of_the_largest_of_many():
    found = [top_sum(K, 1, False) for K in (16, 64, 256, 1024, 4096, 16384, 65536)]
    assert found == pytest.approx([1.766, 2.344, 2.827, 3.248, 3.626, 3.971, 4.291], abs=6e-4)


@pytest.mark.parametrize(("K", "M", "absolute"), [(64, 5, True), (64, 5, False), (300, 40, True)])
def test_sums_of_the_largest_are_those_of_draws(K, M, absolute):
    draws = np.random.default_rng(0).standard_normal((20000, K))
    top = np.sort(np.abs(draws) if absolute else draws, axis=1)[:, -M:].sum(1)
    assert abs(top_sum(K, M, absolute) - top.mean()) < 5 * top.std() / math.sqrt(len(top))


def test_mixes_go_further_than_one_codeword_and_less_far_than_free_coefficients():
    one = shift(Choice(codewords=256))
    before = one
    for atoms in (2, 3, 5):
        found = shift(Choice(codewords=256, atoms=atoms, coefficient_bits=3))
        places = np.diff([top_sum(256, m, False) for m in range(atoms + 1)])
        assert before < found < math.sqrt(np.square(places).sum())
        before = found
    finer = shift(Choice(codewords=256, atoms=3, coefficient_bits=6))
    assert shift(Choice(codewords=256, atoms=3, coefficient_bits=2)) < finer


def test_a_rule_without_a_theory_has_no_prediction():
    assert build("codec", {"name": "ddcm", "rule": "softmax"}).walk_of_choices() is None


def test_without_a_choice_the_walk_ends_at_the_ancestral_samplers_error():
    """A sample that knows nothing of x0 is as far from it as two samples: twice the variance."""
    codec = build("codec", {"name": "ddcm", "steps": 1000, "coded_below": 0})
    assert evolved(np.full(9, 0.3), codec.walk_of_choices()) == pytest.approx(0.6, rel=0.01)

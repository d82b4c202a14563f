"""Codecs on Gaussian fields: the field, its numbers, and what is refused."""

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.methods.construct import build
from harness.metrics.distortion import realism_distortion, shannon_distortion
from harness.trial import Trial
from harness.workload import Context
from harness.workloads import gaussian_codec


def run(tmp_path, seed=0, **fields):
    config = gaussian_codec.Config.model_validate({"side": 12, "repeats": 3, **fields})
    context = Context(data_folder=tmp_path, work_folder=tmp_path, artifact_folder=tmp_path)
    return gaussian_codec.run(Trial(workload="gaussian_codec", config={}, seed=seed), config, context)


DDCM = {"name": "ddcm", "steps": 10, "codewords": 16}


@pytest.mark.parametrize("size", [(12, 12), (9, 7), (8, 5), (1, 1)])
def test_the_fields_variances_are_those_of_its_samples(size):
    field = build("denoiser", {"name": "gaussian", "corner": 0.1})
    variances = field.variances(*size)
    assert len(variances) == 3 * size[0] * size[1]
    assert float(variances.mean()) == pytest.approx(field.variance, rel=1e-5)
    white = torch.randn(4000, 3, *size, generator=torch.Generator().manual_seed(0))
    samples = field.shaped(white)
    assert float(samples.square().mean()) == pytest.approx(field.variance, rel=0.05)
    covariance = torch.cov(samples.flatten(1).double().T, correction=0)
    found = torch.linalg.eigvalsh(covariance) if covariance.ndim else covariance[None]
    assert found.sort().values[-3:].numpy() == pytest.approx(variances.sort().values[-3:].numpy(), rel=0.15)


def test_the_denoiser_is_exact_for_samples_of_its_field():
    field = build("denoiser", {"name": "gaussian", "corner": 0.1})
    generator = torch.Generator().manual_seed(0)
    x0 = field.shaped(torch.randn(400, 3, 9, 8, generator=generator))
    l = field.variances(9, 8)
    for a in (0.1, 0.7):
        x = a**0.5 * x0 + (1 - a) ** 0.5 * torch.randn(x0.shape, generator=generator)
        error = float((field.predict(x, a) - x0).square().mean())
        assert error == pytest.approx(float((l * (1 - a) / (a * l + 1 - a)).mean()), rel=0.03)


def test_metrics_are_those_of_the_samples_and_the_bounds(tmp_path):
    outcome = run(tmp_path, codec=DDCM)
    metrics, rows = outcome.metrics, outcome.tables["samples"].rows
    assert set(metrics) == set(gaussian_codec.METRICS)
    assert metrics["distortion"] == pytest.approx(np.mean([r[1] for r in rows]))
    assert {r[2] for r in rows} == {9 * 4} and metrics["bits_per_value"] == 36 / 432
    assert metrics["decoder_equal"] == 1.0
    l = np.full(432, 0.06)
    assert metrics["distortion_shannon"] == pytest.approx(shannon_distortion(l, 36) / 0.06, rel=1e-4)
    assert metrics["distortion_realism"] == pytest.approx(realism_distortion(l, 36) / 0.06, rel=1e-4)
    assert metrics["gap"] == pytest.approx(10 * np.log10(metrics["distortion"] / metrics["distortion_shannon"]))


def test_samples_hang_on_the_seed_and_codecs_share_them(tmp_path):
    a, b, c = (run(tmp_path, seed=s, codec=DDCM).tables["samples"].rows for s in (0, 0, 1))
    assert a == b != c


def test_a_codec_without_a_theory_has_no_prediction(tmp_path):
    metrics = run(tmp_path, codec={"name": "diffc", "steps": 10, "stop": 500}).metrics
    assert metrics["distortion_predicted"] is None and metrics["deviation"] is None
    assert metrics["gap"] > 0


@pytest.mark.parametrize(("fields", "told"), [
    ({"codec": {"name": "jpeg"}}, "codec 'jpeg' needs no denoiser"),
    ({"codec": DDCM, "denoiser": {"name": "unet"}}, "denoiser 'unet' says no variances of its field"),
    ({"codec": DDCM, "denoiser": {"name": "gaussian", "variance": 0.5}},
     r"more than 0.1 % of the field's values lie outside \[-1, 1\].*lower denoiser.variance"),
])  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path, fields, told):
    with pytest.raises(HarnessError, match=told):
        run(tmp_path, **fields)

"""A codec on held-out photographs: real files, rows that add up, and the denoiser that a trial needs."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness import registry
from harness.codecs import coding
from harness.data import photographs
from harness.errors import HarnessError
from harness.methods import denoiser_files
from harness.methods.construct import build
from harness.metrics.images import psnr
from harness.models.denoiser_size import DenoiserSize
from harness.trial import Trial
from harness.workload import Context
from harness.workloads import image_codec

GAUSSIAN = {"name": "gaussian"}
DDCM = {"name": "ddcm", "steps": 5, "codewords": 16}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def config(**fields):
    return image_codec.Config.model_validate({"codec": DDCM, "denoiser": GAUSSIAN, "side": 24, **fields})


def run(tmp_path, needs=None, **fields):
    made = config(**fields)
    context = Context(data_folder=tmp_path, work_folder=tmp_path, artifact_folder=tmp_path, needs=needs or {})
    return image_codec.run(Trial(workload="image_codec", config={}, seed=0), made, context)


def rows(outcome):
    table = outcome.tables["images"]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


@pytest.mark.parametrize("fields", [
    {}, {"fold": "b"}, {"codec": {"name": "turbo", "steps": 4, "codewords": 64, "atoms": 3}},
    {"codec": {"name": "webp", "quality": 10, "downsample": 2}, "denoiser": None},
])  # fmt: skip
def test_every_held_out_photograph_has_a_row_that_its_file_bears_out(tmp_path, fields):
    outcome, made = run(tmp_path, **fields), config(**fields)
    codec = build("codec", made.codec)
    denoiser = build("denoiser", made.denoiser) if codec.trained else None
    held = photographs.held_out(made.fold)
    assert [r["image"] for r in rows(outcome)] == [p.name for p in held]
    assert set(outcome.metrics) <= set(image_codec.METRICS)
    for row, photograph in zip(rows(outcome), held, strict=True):
        image = photographs.square(photograph, 24)
        encoded = coding.encode(codec, image, denoiser)
        decoded = coding.decode(encoded.file, denoiser).image
        assert row["bytes_file"] == len(encoded.file) and row["pixels"] == 24 * 24
        assert row["bytes_payload"] == math.ceil(row["bits_formula"] / 8) == len(encoded.encoded.payload)
        mse = np.square(decoded.astype(float) - image).mean()
        assert row["psnr"] == pytest.approx(10 * math.log10(255**2 / mse))
        assert row["decoder_equal"] is True and row["natural"] == photograph.natural
        assert row["denoiser_calls"] == (made.codec["steps"] if codec.trained else 0)
        assert (row["psnr_ceiling"] is None) == (not codec.trained)
        assert row["bits_per_pixel_file"] == 8 * row["bytes_file"] / 576
    metrics = outcome.metrics
    assert metrics["psnr"] == pytest.approx(np.mean([r["psnr"] for r in rows(outcome)]))
    assert metrics["decoder_equal"] == 1.0
    outside = {r["bytes_file"] - r["bytes_payload"] for r in rows(outcome)}
    assert outside == {metrics["header_bytes"]}


def test_a_decoder_that_draws_another_image_is_seen(tmp_path, monkeypatch):
    codec = registry.method_class("codec", "ddcm")

    decode = codec.decode
    monkeypatch.setattr(codec, "decode", lambda self, *a: decode(self, *a) ^ np.uint8(1))
    outcome = run(tmp_path)
    assert outcome.metrics["decoder_equal"] == 0.0


def test_a_trained_denoiser_is_that_of_the_needed_trial(tmp_path):
    there = denoiser_files.untrained(DenoiserSize(widths=(8, 16), groups=4, frequencies=4))
    digest = denoiser_files.write(tmp_path, there.network, {})
    outcome = run(tmp_path, needs={"denoiser": tmp_path}, denoiser={"name": "unet"})
    image = photographs.square(photographs.held_out("a")[0], 24)
    denoiser = build("denoiser", {"name": "unet", "folder": str(tmp_path)})
    encoded = coding.encode(build("codec", DDCM), image, denoiser)
    assert rows(outcome)[0]["bytes_file"] == len(encoded.file) and digest in encoded.file
    # The Gaussian reads no folder, whatever the trial needs.
    assert run(tmp_path, needs={"denoiser": tmp_path}).tables["images"] is not None


def test_the_ceiling_of_one_that_lets_all_through_is_high(tmp_path):
    there = denoiser_files.untrained(DenoiserSize(widths=(8, 16), groups=4, frequencies=4))
    denoiser_files.write(tmp_path, there.network, {})
    outcome = run(tmp_path, needs={"denoiser": tmp_path}, denoiser={"name": "unet"}, side=22)
    # It predicts v = 0: x0_hat = sqrt(a) x, off by the noise sqrt(a (1 - a)) and by (1 - a) x0.
    noise = 127.5 * math.sqrt(1e-4)
    expected = 10 * math.log10(255**2 / (noise**2 + 1 / 12))
    assert outcome.metrics["psnr_ceiling"] == pytest.approx(expected, abs=0.4)
    assert outcome.metrics["psnr"] < 20


def test_the_trials_seed_is_the_codebooks(tmp_path):
    made = config()
    context = Context(data_folder=tmp_path, work_folder=tmp_path, artifact_folder=tmp_path)
    first, second = (
        image_codec.run(Trial(workload="image_codec", config={}, seed=s), made, context) for s in (0, 1)
    )
    image = photographs.square(photographs.held_out("a")[0], 24)
    encoded = coding.encode(build("codec", {**DDCM, "seed": 1}), image, build("denoiser", GAUSSIAN))
    assert first.metrics["psnr"] != second.metrics["psnr"]
    assert rows(second)[0]["psnr"] == pytest.approx(psnr(image, encoded.encoded.reconstruction))
    with pytest.raises(ValidationError, match=r"codec\.seed: the codebook is that of the trial's seed"):
        config(codec={**DDCM, "seed": 1})


def test_what_cannot_be_is_refused_when_it_is_planned():
    with pytest.raises(HarnessError, match=r"codec 'ddcm' needs a denoiser; give e.g. denoiser: \{name: unet\}"):
        image_codec.cost(config(denoiser=None))
    for fields, told in (
        ({"fold": "z"}, "fold 'z': give one of a, b"),
        ({"side": 301}, "side 301: the smallest photograph has 300 pixels; give 1 to 300"),
        ({"compute": {"dtype": "bfloat16"}}, "codecs run uncompiled in float32 on a CPU"),
    ):
        with pytest.raises(ValidationError, match=told):
            config(**fields)


def test_cost_counts_the_calls_of_both_ways():
    each = DenoiserSize().flops(24, 24)
    assert image_codec.cost(config()).flops == 2 * 5 * 5 * each
    assert image_codec.cost(config(codec={"name": "jpeg"}, denoiser=None)).flops == 0

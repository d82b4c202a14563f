"""Training of a denoiser: what it sees, what it must not see, what it leaves, and that a kill changes nothing."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from baselines.denoisers.unet import UNet
from harness.data import photographs
from harness.methods import denoiser_files
from harness.methods.modes import evaluating
from harness.outcome import Curve
from harness.trial import Trial
from harness.workload import Context
from harness.workloads import image_denoiser
from harness.workloads._denoiser_task import LEVELS, DenoiserTask, alpha_bar

RAW = {
    "photographs": {"fold": "a", "crop": 16, "sides": [16, 32]},
    "model": {"widths": [8, 16], "groups": 4, "frequencies": 4},
    "training": {"steps": 40, "batch_size": 8, "evaluations": 2, "evaluation_tokens": 4, "test_tokens": 6},
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def config(**sections):
    raw = {**RAW, **{k: {**RAW.get(k, {}), **v} if isinstance(v, dict) else v for k, v in sections.items()}}
    return image_denoiser.Config.model_validate(raw)


def run(folder, seed=0, context=None, **sections):
    made = config(**sections)
    for name in ("work", "artifacts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    fields = {"data_folder": folder, "work_folder": folder / "work", "artifact_folder": folder / "artifacts"}
    trial = Trial(workload="image_denoiser", config=made.model_dump(mode="json", exclude_defaults=True), seed=seed)
    return image_denoiser.run(trial, made, Context(**fields, **(context or {})))


def numbers(outcome):
    return {k: v for k, v in outcome.metrics.items() if "seconds" not in k}, outcome.curves, outcome.tables


def test_it_learns_and_leaves_the_average_that_was_tested(tmp_path):
    outcome = run(tmp_path)
    assert set(outcome.metrics) <= set(image_denoiser.METRICS)
    assert outcome.metrics["test_loss"] < 0.8 * outcome.metrics["trivial_loss"]
    there = denoiser_files.read(tmp_path / "artifacts")
    assert there.about["fold"] == "a" and there.about["test_loss"] == outcome.metrics["test_loss"]
    # The test's loss again, by the denoiser that codecs will read and the closed form of v.
    denoiser, held = UNet(folder=str(tmp_path / "artifacts")), DenoiserTask(config(), 0).held_out("test")
    errors = []
    for x, v, clean, a in zip(held.seen(), held.v(), held.clean_BCHW, held.alpha_bar_B.tolist(), strict=True):
        found = denoiser.predict(x[None], a)[0]
        told = (math.sqrt(a) * x - found) / math.sqrt(1 - a)
        errors.append(float((told - v).double().square().mean()))
        assert found.shape == clean.shape
    assert np.mean(errors) == pytest.approx(outcome.metrics["test_loss"], rel=1e-4)


def test_it_learns_to_see_noise_behind_photographs_whose_mean_is_not_zero(tmp_path):
    outcome = run(tmp_path, training={"steps": 200, "evaluations": 1})
    log_snr, loss, _ = outcome.tables["levels"].rows[1]
    share = 1 / (1 + math.exp(-log_snr))
    # Predicting the photograph's part of v alone would leave that of the noise: its whole variance, a.
    assert loss < 0.8 * share


def test_the_table_of_levels_has_the_tests_mean(tmp_path):
    outcome = run(tmp_path, training={"steps": 3, "evaluations": 1})
    table = outcome.tables["levels"]
    snr, loss, mse = (np.array(c) for c in zip(*table.rows, strict=True))
    assert loss.mean() == pytest.approx(outcome.metrics["test_loss"])
    assert (np.diff(snr) < 0).all() and len(snr) == LEVELS
    # v - v_hat = (x0_hat - x0) / sqrt(1 - a), so their mean squares differ by 1 - a = 1 / (1 + e^snr).
    assert mse == pytest.approx(loss / (1 + np.exp(snr)), rel=1e-4)


def test_a_kill_changes_no_number_and_no_weight(tmp_path, monkeypatch):
    short = {"steps": 12, "evaluations": 2}
    whole = run(tmp_path / "whole", training=short)
    batch = DenoiserTask.batch

    def killing(self, step, part):
        if step == 7:
            raise KeyboardInterrupt
        return batch(self, step, part)

    with monkeypatch.context() as patch:
        patch.setattr(DenoiserTask, "batch", killing)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "killed", training=short, context={"checkpoint_seconds": 0.0})
    again = run(tmp_path / "killed", training=short)
    assert again.resumed == 1 and numbers(again) == numbers(whole)
    digests = [denoiser_files.read(tmp_path / f / "artifacts").digest for f in ("whole", "killed")]
    assert digests[0] == digests[1]


def test_what_a_fold_holds_out_it_never_draws():
    for fold in photographs.FOLDS:
        task = DenoiserTask(config(photographs={"fold": fold}), 0)
        held = photographs.Crops(photographs.held_out(fold), (16, 32), 16)
        known = np.concatenate([held.tiles(0), held.tiles(1)])
        assert len(task._train._images) == 2 * len(photographs.training(fold))
        for split, parity in (("validation", 0), ("test", 1)):
            tiles = ((task.held_out(split).clean_BCHW + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
            of_split = {t.tobytes() for t in held.tiles(parity)}
            assert {t.tobytes() for t in tiles} <= of_split < {t.tobytes() for t in known}


def test_batches_hang_on_seed_and_step_and_not_on_the_optimizer():
    a = DenoiserTask(config(), 0)
    b = DenoiserTask(config(optimizer={"name": "sgd", "lr": 0.1}), 0)
    for x, y in zip(a.batch(3, 0), b.batch(3, 0), strict=True):
        assert torch.equal(x, y)
    assert not torch.equal(a.batch(3, 0).noise_BCHW, a.batch(4, 0).noise_BCHW)
    assert not torch.equal(a.batch(3, 0).clean_BCHW, DenoiserTask(config(), 1).batch(3, 0).clean_BCHW)


def test_parts_are_the_whole_batch_and_give_its_gradient():
    whole = DenoiserTask(config(), 0)
    parts = DenoiserTask(config(training={"gradient_accumulation": 2}), 0)
    both = torch.cat([parts.batch(1, p).alpha_bar_B for p in range(2)])
    assert torch.equal(both.sort().values, whole.batch(1, 0).alpha_bar_B.sort().values)
    mean = sum(parts.loss(parts.batch(1, p)).item() for p in range(2)) / 2
    assert mean == pytest.approx(whole.loss(whole.batch(1, 0)).item(), rel=1e-5)


def test_times_are_uniform_and_their_noise_is_the_schedules():
    task = DenoiserTask(config(), 0)
    shares = torch.cat([task.batch(s, 0).alpha_bar_B for s in range(40)])
    # Uniform times: as many below the schedule's middle as above, one crop in each eighth.
    assert float((shares > alpha_bar(np.array(0.5))).double().mean()) == pytest.approx(0.5, abs=0.02)
    # In continuous time DDPM's schedule of 1,000 steps ends at almost no signal.
    betas = 1e-4 + (0.02 - 1e-4) * np.arange(1000) / 999
    assert alpha_bar(np.array([0.25, 0.5, 1.0])) == pytest.approx(
        np.cumprod(1 - betas)[[249, 499, 999]], rel=0.1
    )


def test_the_trivial_loss_is_that_of_no_v():
    task = DenoiserTask(config(), 0)
    losses = [float(task.batch(s, 0).v().square().mean()) for s in range(150)]
    assert task.trivial_loss == pytest.approx(np.mean(losses), rel=0.05)


def test_the_average_is_that_of_its_formula_and_answers_in_evaluation():
    task = DenoiserTask(config(average=0.5), 0)
    parameter = task.model.network.first.weight
    expected = parameter.detach().clone()
    for step in range(20):
        with torch.no_grad():
            parameter.add_(1.0)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * parameter.detach()
        task.after_step(step)
    torch.testing.assert_close(task.model.average.first.weight, expected)
    x, snr = task.probe_batch(2)
    with evaluating(task.model):
        assert torch.equal(task.model(x, snr), task.model.average(x, snr))
    assert torch.equal(task.model(x, snr), task.model.network(x, snr))


def test_evaluation_changes_nothing_and_gives_the_same_number_twice():
    task = DenoiserTask(config(), 0)
    before = {k: v.clone() for k, v in task.model.state_dict().items()}
    assert task.evaluate("validation") == task.evaluate("validation") != task.evaluate("test")
    assert all(torch.equal(v, before[k]) for k, v in task.model.state_dict().items())
    assert task.model.training


def test_what_diverged_leaves_no_denoiser(tmp_path):
    outcome = run(tmp_path, optimizer={"name": "sgd", "lr": 1e9}, training={"steps": 12})
    assert outcome.diverged_step is not None and outcome.metrics["test_loss"] is None
    assert not list((tmp_path / "artifacts").iterdir())
    assert isinstance(outcome.curves["train_loss"], Curve)


@pytest.mark.parametrize(("sections", "told"), [
    ({"photographs": {"fold": "c"}}, "fold 'c': give one of a, b"),
    ({"photographs": {"sides": [8]}}, "must lie between the crop, 16, and the shortest side of a photograph, 300"),
    ({"photographs": {"sides": [400]}}, "must lie between"),
    ({"photographs": {"crop": 18}, "model": {"widths": [8, 16, 32]}}, "sides|no multiple of 8"),
    ({"compute": {"compile": True}}, "compute.compile is not offered for denoisers; leave it false"),
    ({"training": {"steps": None, "tokens_per_parameter": 2}}, "give steps, or tokens"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(sections, told):
    with pytest.raises(ValidationError, match=told):
        config(**sections)


def test_cost_is_three_forward_passes_and_the_optimizer():
    made = config()
    n = made.model.flops(16, 16)
    cost = image_denoiser.cost(made)
    parameters = sum(p.numel() for p in DenoiserTask(made, 0).model.network.parameters())
    assert cost.parameters == parameters and cost.tokens == 320
    assert cost.flops == 3 * n * 320 + 14 * parameters * 40

"""The image classifier: config and its messages, pictures, losses and accuracies, cost, what a run leaves."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from harness.errors import DataError, HarnessError
from harness.methods.construct import build
from harness.models.parameters import places
from harness.outcome import Curve
from harness.workloads import image_classifier
from harness.workloads._image_task import ImageTask
from harness.workloads.image_classifier import METRICS, best_point
from tests.workloads import tiny_pictures as tiny


@pytest.fixture(autouse=True)
def tiny_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.use(monkeypatch)


# --- config ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sections", "message"), [
    ({"model": {"width": 20}}, r"width 20 is not divisible by head_width 8; valid head widths.*1, 2, 4, 5, 10, 20"),
    ({"model": {"patch": 0}}, "greater than 0"),
    ({"model": {"pach": 2}}, "pach"),
    ({"data": {"path": "a", "size": 4}}, "key 'size': .*greater than or equal to 8 .got 4"),
    ({"data": {"name": "didgits"}}, "unknown embedded pictures 'didgits'. Did you mean 'digits'"),
    ({"data": {"path": "a", "sise": 8}}, "unknown key 'sise'. Did you mean 'size'"),
    ({"data": {"path": "a.txt", "format": "text"}}, "key 'format': .*'images' .got 'text'"),
    ({"training": {"tokens": 99}}, "one of tokens, tokens_per_parameter, steps"),
])  # fmt: skip
def test_bad_values_are_named_with_the_valid_ones(sections: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tiny.config(**sections)


def test_heads_of_odd_width_are_allowed_where_nothing_turns() -> None:
    assert tiny.config(model={"width": 15, "head_width": 5}).model.head_width == 5


def test_patches_fill_the_pictures() -> None:
    with pytest.raises(HarnessError, match=r"patch 3 does not divide pictures of 8 pixels .* valid: 1, 2, 4, 8"):
        image_classifier.cost(tiny.config(model={"patch": 3}))
    with pytest.raises(HarnessError, match=r"model.patch 3 does not divide pictures of 8"):
        tiny.task(model={"patch": 3})
    assert image_classifier.cost(tiny.config(model={"patch": 3}, data={"path": "mine", "size": 12})).flops > 0


def test_a_language_models_context_is_read_and_left_out() -> None:
    with_context = tiny.config(model={"context": 128})
    assert with_context.model_dump(exclude_defaults=True) == tiny.config().model_dump(exclude_defaults=True)


@pytest.mark.parametrize(("length", "steps"), [
    ({"steps": 7}, 7), ({"tokens": 80}, 10), ({"tokens_per_parameter": 2.0}, round(2 * 2 * 12 * 16**2 / 8)),
])  # fmt: skip
def test_length_of_training_is_in_pictures(length: dict, steps: int) -> None:
    assert tiny.config(training={"steps": None, **length}).steps == steps


def test_config_and_cost_do_not_import_torch() -> None:
    code = (
        "import sys; from harness.workloads import image_classifier as m;"
        "c = m.Config.model_validate({'model': {'width': 16, 'depth': 1}, 'training': {'steps': 1},"
        "'optimizer': {'name': 'adamw', 'lr': 0.1}}); assert c.steps == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_built_pictures_are_learned_from_without_what_builds_them() -> None:
    """A machine with nothing but torch, numpy, pydantic and PyYAML executes rounds."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('PIL', 'sklearn', 'mlxtend', 'datasets')));"
        "from harness.workloads import image_classifier, _image_task; from harness.data import images;"
        "assert not {m for m in sys.modules if m.startswith('harness.data.image_') and m[19:] != 'spec'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_cost_is_that_of_the_model_that_is_built(name: str) -> None:
    sections = {"optimizer": {"name": name, "lr": 0.01}}
    config, task = tiny.config(**sections), tiny.task(**sections)
    cost = image_classifier.cost(config, task.size)
    where = places(task.model)
    matrices = [(n, p) for n, p in task.model.named_parameters() if where[n].role != "vector"]
    assert cost.parameters == sum(p.numel() for n, p in matrices if where[n].role == "hidden")
    assert cost.tokens == 12 * 8
    per_step = build("optimizer", config.optimizer).flops_per_step(
        [(where[n].role, tuple(p.shape)) for n, p in matrices]
    )
    # 16 patches see the blocks (6 FLOPs a parameter, 12 N D L of attention) and their map (4); their mean is read
    blocks = 6 * cost.parameters + 12 * 16 * 16 * 2
    model = 16 * (blocks + 4 * 8 * 16) + 6 * 3 * 16
    assert cost.flops == pytest.approx(model * cost.tokens + 12 * per_step)


# --- pictures --------------------------------------------------------------------------------------------


def test_batches_depend_on_seed_size_and_step_alone() -> None:
    a, b = tiny.task(), tiny.task(optimizer={"name": "muon", "lr": 0.1}, norm={"name": "layernorm"})
    b.batch(5, 0)  # order of draws is no part of it
    assert all(torch.equal(x, y) for x, y in zip(a.batch(3, 0), b.batch(3, 0), strict=True))
    first = a.batch(3, 0)[0]
    for other in (a.batch(4, 0), tiny.task(seed=1).batch(3, 0), tiny.task(model={"width": 32}).batch(3, 0)):
        assert not torch.equal(first, other[0])
    parts = tiny.task(training={"gradient_accumulation": 2})
    assert torch.equal(torch.cat([parts.batch(3, 0)[0], parts.batch(3, 1)[0]]), first)


def test_places_cross_to_the_device_rarely_and_are_those_of_their_own_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crossings: list[tuple[int, ...]] = []
    across = ImageTask._across

    def counted(self: ImageTask, places: np.ndarray) -> torch.Tensor:
        crossings.append(places.shape)
        return across(self, places)

    monkeypatch.setattr(ImageTask, "_across", counted)
    task = tiny.task()
    batches = {step: task.batch(step, 0)[0] for step in range(60)}
    for _ in range(3):
        task.evaluate("validation")
    # 60 steps are 25 + 25 + 10; the places of the validation pictures cross once.
    assert crossings == [(25, 8)] * 3 + [(32,)]
    assert all(torch.equal(tiny.task().batch(step, 0)[0], batches[step]) for step in (0, 24, 25, 59))
    places = torch.from_numpy(task.streams.integers("batch", 59, 96, 8))
    assert torch.equal(task.items("train", places)[0], batches[59])


def test_batches_are_of_the_train_split_and_reach_all_of_it() -> None:
    task = tiny.task()
    pictures, classes = task.items("train", torch.arange(96))
    seen = set()
    for step in range(100):
        for x, y in zip(*task.batch(step, 0), strict=True):
            (place,) = (pictures == x).flatten(1).all(1).nonzero().flatten().tolist()
            assert classes[place] == y
            seen.add(place)
    # 800 draws of 96 leave one out with a chance of 96 exp(-800 / 96) = 2 %, and the draws are fixed.
    assert len(seen) >= 95


def test_resident_pictures_give_the_batches_of_mapped_ones() -> None:
    mapped, resident = tiny.task(), tiny.task()
    for split in ("train", "validation"):
        pixels, classes = resident._split(split)
        resident._splits[split] = torch.from_numpy(np.array(pixels)), classes
    assert torch.equal(resident.batch(5, 0)[0], mapped.batch(5, 0)[0])
    assert resident.evaluate("validation") == mapped.evaluate("validation")


def test_pictures_are_standardised_and_keep_their_classes() -> None:
    task, (pixels, classes) = tiny.task(), tiny.TinyPictures().split("validation")
    found, labels = task.items("validation", torch.tensor([7, 0, 7]))
    expected = (pixels[[7, 0, 7]] - np.array([40.0, 90.0])[:, None, None]) / np.array([50.0, 60.0])[:, None, None]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert labels.tolist() == classes[[7, 0, 7]].tolist()


def test_held_out_pictures_are_fixed_and_spread_out() -> None:
    task = tiny.task()
    assert task.held_out("test").tolist() == list(range(41))
    places = task.held_out("validation").tolist()
    assert (len(places), places[0], places[-1]) == (32, 0, 39)
    assert len(task.held_out("train")) == len(set(task.held_out("train").tolist())) == 32
    assert task.probe_batch(5).shape == (5, 2, 8, 8)


def test_fewer_pictures_than_a_batch_are_refused() -> None:
    with pytest.raises(DataError, match=r"96 pictures in train, fewer than training.batch_size 97; give more"):
        tiny.task(training={"batch_size": 97})
    tiny.task(training={"batch_size": 96})


# --- losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_losses_and_accuracies_are_those_of_the_logits(dtype: str) -> None:
    task = tiny.task(compute={"dtype": dtype})
    x, y = task.items("test", torch.arange(41))
    logits = task.forward(x).float()
    loss, tables = task.test()
    # Parts of another size round differently: half the digits of the number format that products are in.
    rel = (torch.finfo(torch.bfloat16).eps if dtype == "bfloat16" else torch.finfo(torch.float32).eps) ** 0.5
    assert loss == pytest.approx(F.cross_entropy(logits, y).item(), rel=rel)
    assert abs(task.accuracy["test"] - (logits.argmax(1) == y).float().mean().item()) <= 1 / 41
    assert task.accuracy["test"] * 41 == pytest.approx(round(task.accuracy["test"] * 41))
    rows = tables["test_loss_blocks"].rows
    assert sum(value * n for _, value, n in rows) / 41 == pytest.approx(loss, rel=1e-6)
    mean, each = task._losses((x, y))
    assert mean.item() == task._eager_loss((x, y)).item()
    assert each.mean().item() == pytest.approx(mean.item(), rel=1e-6)


def test_evaluation_in_parts_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny.task()
    whole, accuracy = task.evaluate("validation"), task.accuracy["validation"]
    monkeypatch.setattr(ImageTask, "items_at_once", 7)
    assert task.evaluate("validation") == pytest.approx(whole, rel=1e-5)
    assert task.accuracy["validation"] == accuracy


# --- a run -----------------------------------------------------------------------------------------------


def test_a_run_learns_and_declares_all_that_it_says(tmp_path: Path) -> None:
    outcome = tiny.run(tmp_path, training={"steps": 60})
    m = outcome.metrics
    assert m["test_loss"] < 0.5 * m["trivial_loss"] == 0.5 * math.log(3)
    assert m["test_accuracy"] > 0.8
    assert m["validation_accuracy"] > 0.8
    assert set(m) <= set(METRICS)
    assert set(METRICS) - set(m) == {"train_loss"}
    assert "train_loss" in outcome.curves
    assert m["flops"] == m["flops_model"] + m["flops_optimizer"]
    assert (m["tokens"], m["tokens_per_step"]) == (480, 8 * 16)


def test_the_loss_on_training_pictures_is_measured_as_the_held_out_one(tmp_path: Path) -> None:
    sections = {"training": {"steps": 30}}
    outcome = tiny.run(tmp_path, fields={"weights_file": tmp_path / "weights.pt"}, **sections)
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    task = ImageTask(tiny.config(**sections), tiny.TinyPictures(), 0, weights)  # type: ignore[arg-type]
    x, y = task.items("train", task.held_out("train"))
    logits = task.forward(x)
    assert outcome.metrics["train_loss_evaluated"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)
    assert outcome.metrics["train_accuracy"] == pytest.approx((logits.argmax(1) == y).float().mean().item())


def test_the_weights_alone_give_the_same_numbers(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    outcome = tiny.run(tmp_path, fields={"weights_file": file}, optimizer={"name": "muon", "lr": 0.02})
    again = image_classifier.evaluate(
        tiny.trial(), tiny.config(optimizer={"name": "muon", "lr": 0.02}), tiny.context(tmp_path, weights_file=file)
    )
    assert set(again.metrics) == {"validation_loss", "test_loss", "validation_accuracy", "test_accuracy"}
    assert again.metrics == {name: outcome.metrics[name] for name in again.metrics}
    assert again.tables == outcome.tables


def test_the_best_point_stands_beside_the_last() -> None:
    assert best_point(Curve(steps=[4, 8, 12], values=[0.5, 0.2, 0.3])) == (0.2, 8)
    assert best_point(Curve(steps=[4, 8], values=[0.2, 0.2])) == (0.2, 4)
    assert best_point(Curve(steps=[4, 8], values=[None, 0.2])) == (0.2, 8)
    assert best_point(Curve(steps=[4], values=[None])) == (None, None)


def test_a_run_that_learns_by_heart_was_better_before(tmp_path: Path) -> None:
    outcome = tiny.run(
        tmp_path, training={"steps": 150, "evaluations": 15}, optimizer={"name": "adamw", "lr": 0.03}
    )
    curve, m = outcome.curves["validation_loss"], outcome.metrics
    assert m["best_validation_loss"] == min(curve.values)
    assert m["best_validation_loss"] == curve.values[curve.steps.index(int(m["best_validation_step"]))]
    assert m["validation_loss"] == curve.values[-1] >= m["best_validation_loss"]
    assert m["train_loss_evaluated"] < m["validation_loss"]


def test_a_diverged_run_has_no_losses(tmp_path: Path) -> None:
    outcome = tiny.run(tmp_path, optimizer={"name": "adamw", "lr": 3.0}, training={"divergence_factor": 2.0})
    assert outcome.diverged_step is not None
    for name in ("test_loss", "test_accuracy", "validation_accuracy", "train_loss_evaluated", "train_accuracy"):
        assert outcome.metrics[name] is None
    assert outcome.metrics["trivial_loss"] == math.log(3)


def test_files_that_were_left_out_are_told_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny.run(tmp_path / "a").notes == []
    monkeypatch.setattr(tiny.TinyPictures, "left_out", "3 files were left out")
    assert tiny.run(tmp_path / "b").notes == ["3 files were left out"]


@pytest.mark.parametrize("sections", [
    {}, {"optimizer": {"name": "muon", "lr": 0.02}, "training": {"gradient_accumulation": 2}},
], ids=str)  # fmt: skip
def test_a_resumed_run_is_bit_identical(
    sections: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {"checkpoint_seconds": 0.0, "probes": {"coordinate": {"steps": 10}}}
    whole = tiny.run(tmp_path / "whole", fields=every, **sections)
    tiny.run_killed_at(7, tmp_path / "cut", monkeypatch, fields=every, **sections)
    resumed = tiny.run(tmp_path / "cut", fields=every, **sections)
    assert (whole.resumed, resumed.resumed) == (0, 1)
    timed = {"seconds_training", "tokens_per_second"}
    assert {n: v for n, v in resumed.metrics.items() if n not in timed} == {
        n: v for n, v in whole.metrics.items() if n not in timed
    }
    assert (resumed.curves, resumed.tables, resumed.probes) == (whole.curves, whole.tables, whole.probes)


def test_probes_change_no_number(tmp_path: Path) -> None:
    probes = {"coordinate": {"steps": 3, "size": 4}, "spectra": {"samples": 3, "heads": "model"}}
    with_probes = tiny.run(tmp_path / "a", fields={"probes": probes})
    without = tiny.run(tmp_path / "b")
    assert with_probes.curves == without.curves
    assert with_probes.metrics["test_loss"] == without.metrics["test_loss"]
    sites = {row[2] for row in with_probes.probes["coordinate"].rows}
    assert sites == {"embedding", "attention", "feed_forward", "logits"}
    matrices = {row[1] for row in with_probes.probes["spectra"].rows}
    assert any("query" in m for m in matrices)
    assert not any("embedding" in m or "positions" in m for m in matrices)


# --- muP -------------------------------------------------------------------------------------------------


def slopes(parametrization: str) -> dict[str, float]:
    """Site -> slope of log2(change after 4 steps) on log2(width), mean over layers and seeds."""
    widths, changes = (32, 64, 128, 256), {}
    for width in widths:
        for seed in range(3):
            task = tiny.task(
                seed, model={"width": width, "head_width": 16, "base_width": 32, "zero_readout": True},
                parametrization={"name": parametrization}, optimizer={"name": "adamw", "lr": 2**-7},
            )  # fmt: skip
            probe = build_probe(task)
            for step in range(4):
                task.loss(task.batch(step, 0)).backward()
                task.optimizer.step()
                task.optimizer.zero_grad()
                probe.after_step(step)
            for step, _, site, statistic, value in probe.finish().rows:
                if step == 4 and statistic == "rms_change":
                    changes.setdefault((site, width), []).append(math.log2(value))
    sites = {site for site, _ in changes}
    means = {site: [np.mean(changes[site, w]) for w in widths] for site in sites}
    return {site: float(np.polyfit(np.log2(widths), values, 1)[0]) for site, values in means.items()}


def build_probe(task: ImageTask):
    from harness.probes import build as probe_of

    probe = probe_of("coordinate", {"steps": 4, "size": 16})
    probe.start(task.model, task.groups, task.optimizer, task)
    return probe


def test_coordinates_do_not_move_with_width_under_mup_and_do_under_standard() -> None:
    mup, standard = slopes("mup"), slopes("standard")
    for site in ("embedding", "attention", "feed_forward", "logits"):
        assert abs(mup[site]) < 0.25, (site, mup)
    for site in ("attention", "feed_forward", "logits"):
        assert standard[site] > mup[site] + 0.25, (site, standard, mup)

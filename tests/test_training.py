"""The training loop: schedule, accumulation, divergence, checkpoints, probes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import probes
from harness.data import corpus
from harness.errors import UnknownNameError
from harness.files import open_sealed_file
from harness.outcome import Table
from harness.training import CHECK_EVERY, Loop, lr_factor, train
from harness.workload import Outcome
from harness.workloads._language_task import LanguageTask
from tests.methods.schedule_free import ScheduleFree
from tests.workloads import tiny


@pytest.fixture(autouse=True)
def tiny_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(corpus, "load", lambda *args, **kwargs: tiny.TinyCorpus())


def numbers(outcome: Outcome) -> tuple[Any, ...]:
    """All that must not depend on kills and probes."""
    losses = {k: v for k, v in outcome.metrics.items() if "second" not in k}
    return losses, {k: c.values for k, c in outcome.curves.items()}


# --- schedule --------------------------------------------------------------------------------------------


def test_linear_schedule_in_closed_form() -> None:
    factors = [lr_factor(s, 10, "linear", 0.2, 0.0) for s in range(10)]
    assert factors == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


def test_cosine_schedule_in_closed_form() -> None:
    factors = [lr_factor(s, 8, "cosine", 0.0, 0.1) for s in range(8)]
    assert factors == pytest.approx([0.1 + 0.45 * (1 + math.cos(math.pi * s / 8)) for s in range(8)])
    assert lr_factor(8, 8, "cosine", 0.0, 0.1) == pytest.approx(0.1)
    assert lr_factor(8, 8, "linear", 0.0, 0.25) == pytest.approx(0.25)


def test_the_optimizer_sees_the_schedule_times_each_groups_own_peak(tmp_path: Path) -> None:
    task = tiny.task(optimizer={"name": "muon", "lr": 0.02, "adam_lr": 0.003})
    peaks = [g["lr"] for g in task.optimizer.param_groups]
    assert set(peaks) == {0.02, 0.003}
    seen: list[list[float]] = []
    step = task.optimizer.step
    task.optimizer.step = lambda *a: (seen.append([g["lr"] for g in task.optimizer.param_groups]), step())[1]
    train(task, task.config.training, tiny.context(tmp_path))
    assert seen == [[p * (1 - s / 12) for p in peaks] for s in range(12)]


# --- gradients -------------------------------------------------------------------------------------------


def test_accumulation_gives_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    gradients = []
    for parts in (1, 4):
        task = tiny.task(training={"gradient_accumulation": parts, "clip_norm": None})
        loop = Loop(task, task.config.training, tiny.context(tmp_path), "")
        loop._gradients(0)
        gradients.append([p.grad for p in task.model.parameters()])
        assert loop.losses[0].item() == pytest.approx(task._eager_loss(tiny.task().batch(0, 0)).item(), rel=1e-6)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


def test_clipping_scales_the_global_norm(tmp_path: Path) -> None:
    norms = {}
    for clip in (None, 0.1, 1e6):
        task = tiny.task(training={"clip_norm": clip})
        loop = Loop(task, task.config.training, tiny.context(tmp_path), "")
        loop._gradients(0)
        total = math.sqrt(sum(float(p.grad.square().sum()) for p in task.model.parameters()))
        norms[clip] = (loop.norms[0].item(), total)
    assert norms[None][1] == pytest.approx(norms[None][0], rel=1e-5)
    assert norms[0.1] == (norms[None][0], pytest.approx(0.1, rel=1e-3))
    assert norms[1e6][1] == norms[None][1]


def test_curves_are_means_of_every_step(tmp_path: Path) -> None:
    task = tiny.task(training={"steps": 150})
    loop = Loop(task, task.config.training, tiny.context(tmp_path), "")
    loop.run()
    curve = loop.curves()["train_loss"]
    assert len(curve.steps) == 100
    assert curve.steps[-1] == 150
    widths = [b - a for a, b in zip([0, *curve.steps], curve.steps, strict=False)]
    mean = sum(w * v for w, v in zip(widths, curve.values, strict=True) if v is not None) / 150
    assert mean == pytest.approx(loop.losses.double().mean().item())


# --- divergence ------------------------------------------------------------------------------------------


class Spoiled(LanguageTask):
    """The loss, or its gradient, goes wrong at one step."""

    spoil: Callable[[torch.Tensor], torch.Tensor]
    at = 7
    count = 0

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        value = super().loss(batch)
        self.count += 1
        return self.spoil(value) if self.count == self.at + 1 else value


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda x: x * math.nan, "training loss nan"),
        (lambda x: x + math.inf, "training loss inf"),
        (lambda x: x + (x - x.detach()) * math.inf, "training loss nan|gradient norm"),
        (lambda x: x + 100.0, "training loss 10.*, above 16.64"),
    ],
)
def test_divergence_is_data(spoil: Callable, reason: str, tmp_path: Path) -> None:
    task = Spoiled(tiny.config(), tiny.TinyCorpus(), 0)
    task.spoil = spoil  # type: ignore[method-assign]
    outcome = train(task, task.config.training, tiny.context(tmp_path), metrics={"tokens": 1.0})
    assert outcome.diverged_step == 7
    assert outcome.reason.startswith("diverged at step 7: ")
    assert re.search(reason, outcome.reason)
    assert [outcome.metrics[k] for k in ("validation_loss", "test_loss", "train_loss_final")] == [None] * 3
    assert outcome.tables == {}
    assert outcome.metrics["tokens"] == 1.0
    assert outcome.curves["train_loss"].steps == list(range(1, 8))
    assert outcome.curves["validation_loss"].steps == [4]


@pytest.mark.parametrize("evaluations", [1, 12])
def test_a_rare_look_at_the_losses_changes_nothing_that_is_left(
    evaluations: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CUDA the host looks each 25th step; a probe must not see what comes after a divergence meanwhile."""

    def run(every: int) -> tuple[Outcome, list[tuple[str, int]]]:
        monkeypatch.setitem(CHECK_EVERY, "cpu", every)
        probe = Watching()
        probe.wants = lambda step: step in (0, 5, 7, 8, 9)  # type: ignore[method-assign]
        monkeypatch.setattr(probes, "build", lambda name, settings: probe)
        task = Spoiled(tiny.config(training={"evaluations": evaluations}), tiny.TinyCorpus(), 0)
        task.spoil = lambda loss: loss * math.nan  # type: ignore[method-assign]
        folder = tmp_path / f"{every}"
        return train(task, task.config.training, tiny.context(folder, probes={"watching": {}})), probe.calls

    (often, calls), (rarely, late_calls) = run(1), run(25)
    assert often.diverged_step == rarely.diverged_step == 7
    assert calls == late_calls == [(w, s) for s in (0, 5) for w in ("before", "after")]
    assert rarely.probes == often.probes
    assert numbers(rarely) == numbers(often)


def test_a_learning_rate_that_is_far_too_high_diverges(tmp_path: Path) -> None:
    outcome = tiny.run(
        tmp_path, optimizer={"lr": 1e12}, training={"clip_norm": None, "steps": 40}, model={"qk_norm": False}
    )
    assert outcome.diverged_step is not None
    assert outcome.metrics["validation_loss"] is None
    assert outcome.metrics["test_bits_per_byte"] is None


# --- evaluation mode -------------------------------------------------------------------------------------


class Noticing(torch.nn.Module):
    """Drops nothing, and notes in which mode it is run."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.modes = inner, list[bool]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        return self.inner(x)


def test_modules_evaluate_in_evaluation_and_probes_and_train_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Watching()
    monkeypatch.setattr(probes, "build", lambda name, settings: probe)
    task = tiny.task(training={"evaluations": 2})
    noticing = task.model.final_norm = Noticing(task.model.final_norm)
    before = probe.before_step
    modes_in_probes: list[bool] = []
    monkeypatch.setattr(
        probe, "before_step", lambda step: (modes_in_probes.append(noticing.training), before(step))
    )
    train(task, task.config.training, tiny.context(tmp_path, probes={"watching": {}}))
    # The probe's own pass at the start; six steps and an evaluation of one pass, twice; the test split.
    assert noticing.modes == [False] + 2 * ([True] * 6 + [False]) + [False]
    assert modes_in_probes == [False] * 3
    assert all(m.training for m in task.model.modules())


def schedule_free(evaluations: int, folder: Path, fields: dict[str, Any]) -> tuple[Outcome, list[float]]:
    """A run, and its validation losses as the trained, not the evaluated weights would have them."""
    task = tiny.task(training={"evaluations": evaluations, "clip_norm": None})
    task.optimizer = ScheduleFree(task.model.parameters(), lr=0.5)
    task.optimizer.train()
    trained: list[float] = []

    def after_step(step: int) -> None:
        with torch.no_grad():
            batch = task.items("validation", task.held_out("validation"))
            trained.append(task._eager_loss(batch).item())

    task.after_step = after_step  # type: ignore[method-assign]
    return train(task, task.config.training, tiny.context(folder, **fields)), trained


def test_a_schedule_free_optimizer_is_evaluated_at_its_average_and_trained_as_if_it_were_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "build", lambda name, settings: Watching())
    rarely, _ = schedule_free(1, tmp_path / "a", {})
    often, trained = schedule_free(12, tmp_path / "b", {"probes": {"watching": {}}})
    assert often.curves["train_loss"] == rarely.curves["train_loss"]
    assert often.metrics["test_loss"] == rarely.metrics["test_loss"]
    # One step in, x and y are one; after that the average lags behind.
    found = often.curves["validation_loss"].values
    assert found[0] == pytest.approx(trained[0], rel=1e-5)
    assert all(a is not None and a > b + 1e-4 for a, b in zip(found[2:], trained[2:], strict=True))


# --- checkpoints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("at", [1, 6, 11])
def test_a_resumed_run_is_bit_identical(
    name: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections: dict[str, Any] = {"optimizer": {"name": name, "lr": 0.01}}
    whole = tiny.run(tmp_path / "whole", **sections)
    every = {"checkpoint_seconds": 0.0, "checkpoint_token": "code"}
    tiny.run_killed_at(at, tmp_path / "cut", monkeypatch, fields=every, **sections)
    batch = LanguageTask.batch
    steps: list[int] = []
    monkeypatch.setattr(
        LanguageTask, "batch", lambda self, step, part: (steps.append(step), batch(self, step, part))[1]
    )
    resumed = tiny.run(tmp_path / "cut", fields=every, **sections)
    assert steps == list(range(at, 12))
    assert resumed.resumed == 1
    assert whole.resumed == 0
    assert numbers(resumed) == numbers(whole)


def test_a_checkpoint_of_other_code_or_trial_is_not_resumed(tmp_path: Path) -> None:
    def attempt(identity: str, token: str) -> int:
        task = tiny.task()
        fields = {"checkpoint_seconds": 0.0, "checkpoint_token": token}
        return train(task, task.config.training, tiny.context(tmp_path, **fields), identity=identity).resumed

    assert attempt("a", "code 1") == 0
    assert attempt("a", "code 1") == 1
    assert attempt("a", "code 2") == 0
    assert attempt("b", "code 2") == 0


def test_a_truncated_checkpoint_starts_over(tmp_path: Path) -> None:
    fields = {"checkpoint_seconds": 0.0}
    whole = tiny.run(tmp_path, fields=fields)
    file = tmp_path / "work" / "checkpoint.pt"
    with open_sealed_file(file) as (_, stream):
        content = stream.read()
    file.write_bytes(file.read_bytes()[:1000])
    again = tiny.run(tmp_path, fields=fields)
    assert again.resumed == 0
    assert numbers(again) == numbers(whole)
    assert again.notes == ["damaged checkpoint put aside, the run started over: it has not the "
                           f"{len(content):,} bytes that were written"]


def test_one_flipped_bit_in_a_checkpoint_starts_the_run_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"checkpoint_seconds": 0.0}
    whole = tiny.run(tmp_path / "whole")
    tiny.run_killed_at(6, tmp_path, monkeypatch, fields=fields)
    file = tmp_path / "work" / "checkpoint.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    again = tiny.run(tmp_path, fields=fields)
    assert again.resumed == 0
    assert numbers(again) == numbers(whole)
    assert "its content is not what its checksum says" in again.notes[0]
    assert file.with_suffix(".damaged").read_bytes() == content


def test_checkpoints_keep_their_distance(tmp_path: Path) -> None:
    tiny.run(tmp_path, fields={"checkpoint_seconds": 3600.0})
    assert not (tmp_path / "work" / "checkpoint.pt").exists()


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr("harness.training.time.monotonic", lambda: float(next(clock)))
    shares: list[float] = []
    tiny.run(tmp_path, fields={"on_progress": shares.append, "checkpoint_seconds": 1e9})
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


# --- probes ----------------------------------------------------------------------------------------------


class Watching:
    """Reads all there is to read, draws numbers, and notes the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.rows: list[list[Any]] = []

    def start(self, model: Any, groups: Any, optimizer: Any, task: Any) -> None:
        self.model, self.groups, self.task = model, groups, task
        self.rows.append(["start", 0, float(task.forward(task.probe_batch(3)).std())])

    def wants(self, step: int) -> bool:
        return step % 5 == 0

    def before_step(self, step: int) -> None:
        self.calls.append(("before", step))
        self.before = [p.detach().clone() for p in self.model.parameters()]
        torch.randn(5)

    def after_step(self, step: int) -> None:
        self.calls.append(("after", step))
        pairs = zip(self.model.parameters(), self.before, strict=True)
        self.rows.append(["update", step, sum(float((p.detach() - q).norm()) for p, q in pairs)])
        assert all(p.grad is not None for p in self.model.parameters())
        torch.randn(5)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows = [list(r) for r in state["rows"]]

    def finish(self) -> Table:
        return Table(columns=["what", "step", "value"], rows=self.rows)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_probes_change_nothing(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = {"compute": {"dtype": dtype}}
    without = tiny.run(tmp_path / "a", **sections)
    probe = Watching()
    monkeypatch.setattr(probes, "build", lambda name, settings: probe)
    watched = tiny.run(tmp_path / "b", fields={"probes": {"watching": {}}}, **sections)
    assert numbers(watched) == numbers(without)
    assert probe.calls == [(w, s) for s in (0, 5, 10) for w in ("before", "after")]
    rows = watched.probes["watching"].rows
    assert [r[:2] for r in rows] == [["start", 0], ["update", 0], ["update", 5], ["update", 10]]
    assert all(r[2] > 0 for r in rows)


def test_probes_resume_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "build", lambda name, settings: Watching())
    fields = {"probes": {"watching": {}}, "checkpoint_seconds": 0.0}
    whole = tiny.run(tmp_path / "whole", fields=fields)
    tiny.run_killed_at(8, tmp_path / "cut", monkeypatch, fields=fields)
    resumed = tiny.run(tmp_path / "cut", fields=fields)
    assert resumed.resumed == 1
    assert resumed.probes == whole.probes


def test_an_unknown_probe_is_named_with_the_known(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown probe 'spectr'"):
        tiny.run(tmp_path, fields={"probes": {"spectr": {}}})


def test_a_run_that_diverges_at_its_first_step_is_diverged_and_has_no_curves(tmp_path: Path) -> None:
    outcome = tiny.run(tmp_path, training={"divergence_factor": 1.0000001}, model={"zero_readout": False}, seed=1)
    assert outcome.diverged_step == 0
    assert {name: curve.steps for name, curve in outcome.curves.items()} == {name: [] for name in outcome.curves}

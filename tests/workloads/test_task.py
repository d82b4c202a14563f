"""What tasks share: a task on pictures uses it without tokens, one with other feed-forwards without a copy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.methods.norm import Norm
from harness.methods.parametrization import Parametrization
from harness.models.blocks import BlockArchitecture, Linear, Relu2, build_blocks
from harness.outcome import Table
from harness.training import train
from harness.workloads import language_model
from harness.workloads._language_task import LanguageTask
from harness.workloads._sections import Compute, Network, Training
from harness.workloads._task import LearningTask, loss_blocks
from tests.workloads import tiny

CLASSES, PATCHES, PIXELS = 3, 4, 6


class Pictures(nn.Module):
    """Patches to classes: blocks that see all, positions learned."""

    def __init__(self, a: BlockArchitecture, norm: Norm, parametrization: Parametrization) -> None:
        super().__init__()
        self.embedding = Linear((a.width, PIXELS), "hidden")
        self.positions = nn.Parameter(torch.zeros(PATCHES, a.width))
        self.blocks = build_blocks(a, norm, parametrization)
        self.readout = Linear((CLASSES, a.width), "readout")

    def forward(self, x_BNP: Tensor) -> Tensor:
        x_BND = self.embedding(x_BNP) + self.positions
        for block in self.blocks:
            x_BND = block(x_BND)
        return self.readout(x_BND.mean(1))


class PictureTask(LearningTask):
    """Bright patches somewhere in noise; the class is how many."""

    def network(self, section: Network, norm: Norm, parametrization: Parametrization) -> nn.Module:
        a = BlockArchitecture(
            width=section.width, depth=section.depth, head_width=section.head_width, causal=False
        )
        return Pictures(a, norm, parametrization)

    def items(self, split: str, held: Tensor) -> tuple[Tensor, Tensor]:
        labels = held % CLASSES
        bright = (torch.arange(PATCHES) + held[:, None]) % PATCHES < labels[:, None]
        noise = torch.randn(len(held), PATCHES, PIXELS, generator=torch.Generator().manual_seed(int(held[0])))
        return noise + 3.0 * bright[:, :, None], labels

    def batch(self, step: int, part: int) -> tuple[Tensor, Tensor]:
        return self.items("train", torch.from_numpy(self.streams.integers("batch", step, 10_000, 24)))

    def held_out(self, split: str) -> Tensor:
        return torch.arange(50) + {"validation": 20_000, "test": 30_000}[split]

    items_at_once = 12
    item_tokens = 1

    def _eager_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        with self.autocast():
            return F.cross_entropy(self.model(batch[0]).float(), batch[1])

    def _losses(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with self.autocast():
            each = F.cross_entropy(self.model(batch[0]).float(), batch[1], reduction="none")
        return each.mean(), each

    def probe_batch(self, size: int) -> Tensor:
        return self.items("validation", self.held_out("validation")[:size])[0]


def pictures(**sections: Any) -> PictureTask:
    config = SimpleNamespace(
        model=Network(width=16, depth=1, head_width=8, base_width=8), steps=60,
        training=Training(steps=60, batch_size=24, evaluations=2), compute=Compute(),
        optimizer={"name": "muon", "lr": 0.02}, parametrization={"name": "mup"}, norm={"name": "rmsnorm"},
    )
    return PictureTask(config, 0, float(np.log(CLASSES)))


def test_a_task_on_pictures_learns_is_evaluated_in_blocks_and_probed(tmp_path: Path) -> None:
    task = pictures()
    probes = {"coordinate": {"steps": 2, "size": 4}, "spectra": {"samples": 2}}
    outcome = train(task, task.learning.training, tiny.context(tmp_path, probes=probes))
    loss = outcome.metrics["test_loss"]
    assert loss is not None
    assert loss < 0.5 * task.trivial_loss
    rows = outcome.tables["test_loss_blocks"].rows
    assert [row[2] for row in rows] == [4] * 2 + [3] * 14
    assert sum(value * n for _, value, n in rows) / 50 == pytest.approx(loss, rel=1e-6)
    assert all(outcome.probes[name].rows for name in probes)


class Gated(Relu2):
    """The dense feed-forward behind a gate of its own, with a count that the task clears."""

    def __init__(self, a: BlockArchitecture) -> None:
        super().__init__(a.width, a.feed_forward_width, a.zero_residual)
        self.gate = nn.Parameter(torch.ones(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.count += x[..., 0].numel()
        return self.gate * super().forward(x)


class GatedTask(LanguageTask):
    """As a mixture of experts would: another feed-forward, a term in the loss, state after the step."""

    def __init__(self, config: Any, corpus: Any, seed: int) -> None:
        self.counts: list[int] = []
        super().__init__(config, corpus, seed, feed_forward=lambda a, i: Gated(a))

    def _eager_loss(self, batch: Tensor) -> Tensor:
        loss = super()._eager_loss(batch)
        extra = sum(block.feed_forward.gate.square() for block in self.model.blocks)
        return loss + (extra - extra.detach())

    def after_step(self, step: int) -> None:
        for block in self.model.blocks:
            self.counts.append(int(block.feed_forward.count))
            block.feed_forward.count.zero_()


def test_a_language_task_with_other_feed_forwards_reuses_the_dense_ones(tmp_path: Path) -> None:
    config = tiny.config()
    task, dense_task = GatedTask(config, tiny.TinyCorpus(), 0), tiny.task()
    assert torch.equal(task.batch(3, 0), dense_task.batch(3, 0))
    # Gates of one and an extra term worth zero: the same losses to the bit, in training and evaluation.
    assert task.loss(task.batch(0, 0)).item() == dense_task.loss(dense_task.batch(0, 0)).item()
    assert task.test() == dense_task.test()
    trial = SimpleNamespace(identity="gated")
    context = tiny.context(tmp_path)
    outcome = language_model.learn(task, trial, context, {"tokens": 768.0}, 0.0)  # type: ignore[arg-type]
    # Evaluation passes count nothing; 12 steps, 2 blocks, 4 sequences of 16.
    assert task.counts[2:] == [64] * 22
    assert outcome.metrics["parameters_total"] == dense_task.parameters_total + 2
    assert outcome.metrics["test_bits_per_byte"] == pytest.approx(outcome.metrics["test_loss"] / np.log(2))


def test_blocks_are_runs_of_neighbours() -> None:
    table = loss_blocks(torch.arange(32.0), tokens=5)
    assert table == Table(
        columns=["block", "loss", "tokens"], rows=[[i, 2 * i + 0.5, 10] for i in range(16)], about=table.about
    )

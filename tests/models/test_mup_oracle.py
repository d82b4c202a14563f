"""muP on the real transformer against microsoft/mup's table, on a plain one written from its formulas.

2203.03466, Table 8, as microsoft/mup applies it, with m = width / base width: Adam's rate is divided by m for
matrices with two infinite sides (and their weight decay multiplied by it), the readout's input is divided by m, and
attention logits by the head width, times the root of the base head width. All else is as at the base width.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.workloads._language_task import LanguageTask
from tests.workloads import tiny

WIDTH, BASE_WIDTH, HEAD, BASE_HEAD, DEPTH, CONTEXT, VOCABULARY = 32, 8, 16, 4, 2, 16, 256
LR, DECAY, EPS, STEPS = 0.02, 0.1, 1e-8, 15
M = WIDTH / BASE_WIDTH


class PlainBlock(nn.Module):
    def __init__(self, qk_norm: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH, eps=1e-6), nn.RMSNorm(WIDTH, eps=1e-6)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        self.qk_norm = qk_norm

    def heads(self, x: Tensor, positions: bool) -> Tensor:
        x = x.unflatten(-1, (-1, HEAD)).transpose(1, 2)
        if not positions:
            return x
        if self.qk_norm:
            x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        rates = 10_000.0 ** (-2 * torch.arange(HEAD // 2) / HEAD)
        turns = torch.polar(torch.ones(()), torch.arange(CONTEXT)[:, None] * rates)
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turns).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k = self.heads(self.query(y), True), self.heads(self.key(y), True)
        logits = q @ k.mT / HEAD * math.sqrt(BASE_HEAD)
        logits = logits + torch.full((CONTEXT, CONTEXT), -math.inf).triu(1)
        x = x + self.out((logits.softmax(-1) @ self.heads(self.value(y), False)).transpose(1, 2).flatten(2))
        return x + self.down(F.relu(self.up(self.norm2(x))) ** 2)


class Plain(nn.Module):
    def __init__(self, qk_norm: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(PlainBlock(qk_norm) for _ in range(DEPTH))
        self.norm, self.readout = nn.RMSNorm(WIDTH, eps=1e-6), nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.readout(self.norm(x) / M)


def copied(theirs: LanguageTask, qk_norm: bool) -> Plain:
    """The plain transformer with the same initial values."""
    values, plain = dict(theirs.model.named_parameters()), Plain(qk_norm)
    taken = {"embedding.weight": values["embedding.weight"], "readout.weight": values["readout.weight"]}
    for i in range(DEPTH):
        taken |= {
            f"blocks.{i}.{name}.weight": values[f"blocks.{i}.attention.qkv.weight"][j]
            for j, name in enumerate(("query", "key", "value"))
        }
        taken[f"blocks.{i}.out.weight"] = values[f"blocks.{i}.attention.out.weight"]
        for name in ("up", "down"):
            taken[f"blocks.{i}.{name}.weight"] = values[f"blocks.{i}.feed_forward.{name}.weight"]
    with torch.no_grad():
        for name, value in taken.items():
            plain.get_parameter(name).copy_(value)
    return plain


def plain_optimizer(plain: Plain, eps: float = EPS) -> torch.optim.Optimizer:
    groups = []
    for name, p in plain.named_parameters():
        hidden = name.startswith("blocks") and p.ndim == 2
        decay = 0.0 if p.ndim == 1 else DECAY
        groups.append({
            "params": [p], "lr": LR / M if hidden else LR, "weight_decay": decay * M if hidden else decay,
        })  # fmt: skip
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=eps, foreach=False, fused=False)


def losses(task: LanguageTask, model: nn.Module, optimizer: torch.optim.Optimizer, plain: bool) -> list[float]:
    found = []
    for step in range(STEPS):
        batch = task.batch(step, 0)
        logits = model(batch[:, :-1]) if plain else None
        loss = task.loss(batch) if logits is None else F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


def task(qk_norm: bool, adam_eps: float = EPS, **parametrization: Any) -> LanguageTask:
    return tiny.task(
        model={
            "width": WIDTH, "head_width": HEAD, "depth": DEPTH, "context": CONTEXT, "qk_norm": qk_norm,
            "base_width": BASE_WIDTH, "base_head_width": BASE_HEAD,
        },
        parametrization=parametrization,
        optimizer={"name": "adamw", "lr": LR, "weight_decay": DECAY, "eps": adam_eps},
    )  # fmt: skip


@pytest.mark.parametrize("form", ["table8", "table3"])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_losses_of_fifteen_steps_are_those_of_the_table(qk_norm: bool, form: str) -> None:
    """Table 3 has no multiplier: its readout is smaller by m, and gives the same losses where eps is nothing."""
    eps = EPS if form == "table8" else 1e-14
    ours = task(qk_norm, eps, name="mup", form=form, eps="constant")
    plain = copied(ours, qk_norm)
    if form == "table3":
        with torch.no_grad():
            plain.readout.weight.mul_(M)
    expected = losses(ours, plain, plain_optimizer(plain, eps), plain=True)
    found = losses(ours, ours.model, ours.optimizer, plain=False)
    assert found == pytest.approx(expected, abs=1e-5)
    assert expected[-1] < expected[0] - 1


def test_initial_scales_are_the_tables() -> None:
    """A hidden entry's variance is 1 / fan-in; the readout's does not fall with width."""
    parameters = dict(task(True, name="mup", form="table8").model.named_parameters())
    std = {name: p.std().item() for name, p in parameters.items() if p.ndim > 1}
    assert std["blocks.1.attention.out.weight"] == pytest.approx(WIDTH**-0.5, rel=0.05)
    assert std["blocks.0.feed_forward.down.weight"] == pytest.approx((4 * WIDTH) ** -0.5, rel=0.05)
    assert std["readout.weight"] == pytest.approx(BASE_WIDTH**-0.5, rel=0.05)
    assert std["embedding.weight"] == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("parametrization", [
    {"name": "standard"}, {"name": "mup", "attention": "1/sqrt(d)", "eps": "constant"},
    {"name": "mup", "weight_decay": "coupled", "eps": "constant"},
], ids=str)  # fmt: skip
def test_another_rule_gives_other_losses(parametrization: dict[str, Any]) -> None:
    ours = task(False, **parametrization)
    plain = copied(ours, False)
    expected = losses(ours, plain, plain_optimizer(plain), plain=True)
    assert losses(ours, ours.model, ours.optimizer, plain=False) != pytest.approx(expected, abs=1e-3)

"""The embedding's scale is set beside the norm: alike for every arm, and left out of what it does not change."""

from __future__ import annotations

import math

import pytest
import torch

from tests.workloads import tiny

WIDTH = 16
SMALL = {"parametrization": {"name": "standard", "embedding_std": 0.02}}
EMBEDDINGS = {
    "unit": ({}, 1.0),
    "scaled": ({"model": {"embedding_scalar": True}, **SMALL}, 0.02 * WIDTH**0.5),
    "bare": ({"model": {"embedding_scalar": False}, **SMALL}, 0.02),
}
"""Name -> (sections, RMS of what the first block sees)."""


@pytest.mark.parametrize(
    "norm", [{"name": "layernorm"}, {"name": "dyt"}, {"name": "dyt", "embedding_scalar": True}]
)
@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_what_the_first_block_sees_has_the_axis_scale_behind_every_norm(norm: dict, embedding: str) -> None:
    sections, expected = EMBEDDINGS[embedding]
    if embedding == "unit" and "embedding_scalar" in norm:
        expected = math.sqrt(WIDTH)
    task = tiny.task(norm=norm, **sections)
    seen: list[torch.Tensor] = []
    task.model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    task.model(torch.arange(256)[:, None])
    # 4096 draws: the RMS is within 1 / sqrt(2 * 4096) = 1.1 %.
    assert seen[0].square().mean().sqrt().item() == pytest.approx(expected, rel=0.05)


def test_the_scalar_is_trained_without_decay() -> None:
    task = tiny.task(norm={"name": "layernorm"}, model={"embedding_scalar": True})
    scalar = task.model.embedding_scale
    assert scalar is not None
    (group,) = (g for g in task.optimizer.param_groups if any(p is scalar for p in g["params"]))
    assert group["weight_decay"] == 0.0
    task.loss(task.batch(0, 0)).backward()
    task.optimizer.step()
    assert scalar.item() != math.sqrt(WIDTH)


def test_a_config_that_does_not_say_is_the_same_config() -> None:
    said = tiny.config(model={"embedding_scalar": None}).model_dump(exclude_defaults=True)
    assert said == tiny.config().model_dump(exclude_defaults=True)
    assert "embedding_scalar" not in said["model"]

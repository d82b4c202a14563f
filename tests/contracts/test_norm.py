"""A norm that breaks its contract is told how."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.norms.layernorm import LayerNorm
from harness.contracts.norm import check


class Module(nn.Module):
    def __init__(self, f: Any, value: float = 1.0) -> None:
        super().__init__()
        self.f, self.value = f, nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x) * self.value


class Norm:
    def __init__(self, f: Any = lambda x: x, value: Any = lambda: 1.0, scale: float | None = None) -> None:
        self.f, self.value, self.scale = f, value, scale

    def build(self, width: int, site: str) -> nn.Module:
        return Module(self.f, self.value())

    def embedding_scale(self, width: int) -> float | None:
        return self.scale


@pytest.mark.parametrize(
    ("norm", "breach"),
    [
        (Norm(lambda x: x[..., :16]), r"build\(24, 'final'\) turns \(2, 5, 24\) into \(2, 5, 16\)"),
        (Norm(lambda x: (x - 9).log()), "is not finite on unit normals"),
        (Norm(lambda x: x.detach()), "has no finite gradient"),
        (Norm(value=random.random), "starts elsewhere at the same seed"),
        (Norm(scale=0.0), r"embedding_scale\(16\) is 0\.0, expected None or a positive number"),
    ],
)
def test_a_breach_is_told(norm: Norm, breach: str) -> None:
    found = list(check(norm))
    assert any(re.search(breach, text) for text in found), found


def test_the_generator_is_left_as_it_was_and_torchs_draws_are_the_same() -> None:
    state = torch.get_rng_state()
    assert list(check(LayerNorm())) == [] == list(check(Norm(value=lambda: torch.randn(()).item())))
    assert torch.equal(torch.get_rng_state(), state)

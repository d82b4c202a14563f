"""Evaluation leaves training as it was: modules' modes, weights' bits, an optimizer's state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.methods.modes import evaluating, set_training
from tests.methods.schedule_free import ScheduleFree


def model_and_optimizer(steps: int = 3) -> tuple[nn.Module, ScheduleFree]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5))
    optimizer = ScheduleFree(model.parameters(), lr=0.1)
    set_training(optimizer)
    for _ in range(steps):
        model(torch.randn(3, 16)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_modules_evaluate_inside_and_have_their_own_modes_after() -> None:
    model, _ = model_and_optimizer()
    model[0].eval()
    with evaluating(model):
        assert not any(m.training for m in model.modules())
    assert [m.training for m in model.modules()] == [True, False, True]


def test_weights_are_the_evaluated_ones_inside_and_the_trained_ones_after_to_the_bit() -> None:
    model, optimizer = model_and_optimizer()
    trained = [p.detach().clone() for p in model.parameters()]
    for _ in range(20):
        with evaluating(model, optimizer):
            states = (optimizer.state[p]["z"] for p in model.parameters())
            for p, y, z in zip(model.parameters(), trained, states, strict=True):
                torch.testing.assert_close(p, (y - 0.1 * z) / 0.9)
                assert not torch.equal(p, y)
    assert all(torch.equal(p, y) for p, y in zip(model.parameters(), trained, strict=True))
    assert optimizer.training


def test_the_switches_alone_round() -> None:
    """What keeping the trained weights aside is for."""
    model, optimizer = model_and_optimizer()
    trained = [p.detach().clone() for p in model.parameters()]
    optimizer.eval()
    optimizer.train()
    assert not all(torch.equal(p, y) for p, y in zip(model.parameters(), trained, strict=True))


def test_weights_are_put_back_though_evaluation_fails() -> None:
    model, optimizer = model_and_optimizer()
    trained = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ZeroDivisionError), evaluating(model, optimizer):
        _ = 1 / 0
    assert all(torch.equal(p, y) for p, y in zip(model.parameters(), trained, strict=True))
    assert all(m.training for m in model.modules())


def test_an_optimizer_without_switches_is_left_alone() -> None:
    model, _ = model_and_optimizer()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    set_training(optimizer)
    with evaluating(model, optimizer):
        pass


class OnlyEval(torch.optim.SGD):
    def eval(self) -> Any: ...


def test_one_switch_without_the_other_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"OnlyEval has eval\(\) but no train\(\); give it both"):
        set_training(OnlyEval([nn.Parameter(torch.zeros(1))], lr=0.1))

"""Lion beside its formulas; what only signs can do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from baselines.optimizers.lion import Lion
from harness.errors import PluginError
from harness.methods.construct import build
from harness.methods.optimizer import Optimizer
from harness.methods.parametrization import Scaling
from tests.baselines.optimizers import lockstep
from tests.baselines.optimizers.toys import draw_gradients, make_groups, parameters, values

ROUNDING = 1e-12
"""Float64, 20 steps of element-wise work: some hundred units in the last place of a weight."""


@pytest.mark.parametrize("decay_vectors", [True, False])
def test_twenty_steps_equal_a_plain_float64_loop(decay_vectors):
    method = Lion(lr=0.01, weight_decay=0.7, beta1=0.8, beta2=0.95, decay_vectors=decay_vectors)

    def plain(p: Tensor, role: str) -> lockstep.Step:
        m = torch.zeros_like(p)
        decay = 0.7 if decay_vectors or role != "vector" else 0.0

        def step(g: Tensor, lr: float) -> Tensor:
            nonlocal p, m
            c = 0.8 * m + 0.2 * g
            p = p - lr * (torch.where(c > 0, 1.0, -1.0) + decay * p)
            m = 0.95 * m + 0.05 * g
            return p

        return step

    found = lockstep.errors(method, plain)
    assert max(found.values()) < ROUNDING, found


def test_each_weight_moves_by_the_learning_rate_and_not_at_all_without_a_gradient():
    groups = make_groups()
    before = values(groups)
    parameters(groups)[0].grad[0] = 0
    Lion(lr=0.25, weight_decay=0.0).build(groups).step()
    for index, (p, b) in enumerate(zip(parameters(groups), before, strict=True)):
        moved = (p.detach() - b).abs()
        if index == 0:
            assert (moved[0] == 0).all()
            moved = moved[1:]
        torch.testing.assert_close(moved, torch.full_like(moved, 0.25), rtol=1e-6, atol=0)


def test_the_scale_of_the_gradients_does_not_matter_to_the_bit():
    plain, large = make_groups(), make_groups()
    one, two = Lion(lr=0.01).build(plain), Lion(lr=0.01).build(large)
    for step in range(5):
        draw_gradients(plain, step)
        draw_gradients(large, step)
        for p in parameters(large):
            p.grad.mul_(2.0**20)
        one.step()
        two.step()
    for a, b in zip(parameters(plain), parameters(large), strict=True):
        assert torch.equal(a, b)


def test_steady_gradients_leave_weights_at_the_bound_of_the_decay():
    """p <- (1 - lr wd) p - lr has the fixed point -1 / wd (2310.05898: Lion keeps |p| below it)."""
    groups = make_groups()
    optimizer = Lion(lr=0.1, weight_decay=2.0).build(groups)
    for p in parameters(groups):
        p.grad = torch.ones_like(p)
    for _ in range(80):
        optimizer.step()
    torch.testing.assert_close(parameters(groups)[0].detach(), torch.full((40, 16), -0.5), rtol=1e-5, atol=0)


def test_multipliers_scale_lr_and_weight_decay():
    scaling = Scaling(init_std=1.0, lr=0.5, weight_decay=4.0)
    optimizer = Lion(lr=0.02, weight_decay=0.1).build(make_groups(scaling=scaling))
    assert [g["lr"] for g in optimizer.param_groups] == [0.01] * 7
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.4] * 6 + [0.0]


def test_it_is_registered_and_counts_its_flops():
    method = build("optimizer", {"name": "lion", "lr": 0.01})
    assert isinstance(method, Lion) and isinstance(method, Optimizer)
    assert {method.family(role) for role in ("embedding", "hidden", "readout", "vector")} == {"adam"}
    assert method.flops_per_step([("hidden", (3, 4, 5)), ("vector", (7,))]) == 10 * 67


@pytest.mark.parametrize(("field", "value"), [("lr", 0.0), ("beta1", 1.0), ("beta2", -0.1), ("weight_decay", -1.0)])
def test_bad_values_are_named(field, value):
    with pytest.raises(PluginError, match=rf"'lion', key '{field}'"):
        build("optimizer", {"name": "lion", "lr": 0.1, field: value})

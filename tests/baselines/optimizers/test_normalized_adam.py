"""The normalised-update form of the spectral condition."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from baselines.optimizers.normalized_adam import power_iteration, start_vector
from harness.errors import PluginError
from harness.methods.construct import build
from harness.methods.optimizer import Optimizer, ParameterGroup
from harness.methods.parametrization import Scaling


def groups(shape=(3, 24, 40), **scaling) -> list[ParameterGroup]:
    generator = torch.Generator().manual_seed(1)

    def group(role: str, size: tuple[int, ...]) -> ParameterGroup:
        p = torch.nn.Parameter(torch.randn(size, generator=generator))
        return ParameterGroup(
            role=role, names=[role], parameters=[p], fan_in=1, fan_out=1,  # type: ignore[arg-type]
            scaling=Scaling(init_std=1.0, **scaling),
        )

    return [group("hidden", shape), group("readout", (5, 24)), group("vector", (24,))]


def train(optimizer: torch.optim.Optimizer, parts: list[ParameterGroup], steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        for part in parts:
            for p in part.parameters:
                p.grad = torch.randn(p.shape, generator=generator) + p.detach()
        optimizer.step()


@pytest.mark.parametrize("shape", [(3, 24, 40), (48, 12)])
def test_every_matrix_moves_by_the_condition_in_spectral_norm(shape):
    parts = groups(shape, lr=0.5)
    method = build("optimizer", {"name": "normalized_adam", "lr": 0.02, "weight_decay": 0, "power_steps": 40})
    assert isinstance(method, Optimizer) and method.family("hidden") == "muon"
    optimizer = method.build(parts)
    train(optimizer, parts, 3)
    before = parts[0].parameters[0].detach().clone()
    train(optimizer, parts, 1, first=3)
    moved = torch.linalg.matrix_norm(parts[0].parameters[0].detach() - before, 2)
    want = torch.full_like(moved, 0.02 * 0.5 * (shape[-2] / shape[-1]) ** 0.5)
    torch.testing.assert_close(moved, want, rtol=2e-2, atol=0)


def test_two_warm_steps_stay_near_the_norm():
    parts = groups((32, 32))
    optimizer = build("optimizer", {"name": "normalized_adam", "lr": 0.01, "weight_decay": 0}).build(parts)
    for step in range(12):
        before = parts[0].parameters[0].detach().clone()
        train(optimizer, parts, 1, first=step)
        moved = float(torch.linalg.matrix_norm(parts[0].parameters[0].detach() - before, 2))
        # A lower bound of the norm divides: the step is never too short.
        assert 0.01 * (1 - 1e-4) <= moved <= 0.01 * 1.35


def test_other_roles_take_adamws_step():
    ours, theirs = groups(), groups()
    train(build("optimizer", {"name": "normalized_adam", "lr": 0.01}).build(ours), ours, 5)
    train(build("optimizer", {"name": "adamw", "lr": 0.01}).build(theirs), theirs, 5)
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(a.parameters[0], b.parameters[0], rtol=1e-5, atol=1e-7)


def test_power_iteration_bounds_the_norm_from_below_and_a_zero_matrix_has_none():
    U = torch.randn(4, 16, 20, generator=torch.Generator().manual_seed(0))
    U[2] = 0
    exact = torch.linalg.matrix_norm(U, 2)
    few, many = (power_iteration(U, start_vector(U), steps)[0] for steps in (2, 200))
    assert (few <= exact * (1 + 1e-5)).all() and few[2] == 0
    torch.testing.assert_close(many, exact, rtol=1e-3, atol=0)


def test_a_zero_gradient_leaves_finite_weights():
    parts = groups((8, 8))
    optimizer = build("optimizer", {"name": "normalized_adam", "lr": 0.01}).build(parts)
    for part in parts:
        for p in part.parameters:
            p.grad = torch.zeros_like(p)
    optimizer.step()
    assert all(p.isfinite().all() for part in parts for p in part.parameters)


def test_state_dict_resumes_bit_for_bit():
    method = build("optimizer", {"name": "normalized_adam", "lr": 0.01})
    whole, half = groups(), groups()
    train(method.build(whole), whole, 6)
    optimizer = method.build(half)
    train(optimizer, half, 3)
    state = copy.deepcopy(optimizer.state_dict())
    late = method.build(half)
    late.load_state_dict(state)
    train(late, half, 3, first=3)
    for a, b in zip(whole, half, strict=True):
        assert torch.equal(a.parameters[0], b.parameters[0])


def test_flops_count_adam_and_every_product_of_the_power_iteration():
    method = build("optimizer", {"name": "normalized_adam", "lr": 1.0})
    shape = (3, 4, 5)
    with FlopCounterMode(display=False) as counter:
        power_iteration(torch.ones(shape), torch.ones(3, 5), method.power_steps)
    products = counter.get_total_flops()
    assert products == 60 * (4 * 2 + 2)
    assert method.flops_per_step([("hidden", shape), ("vector", (7,))]) == 60 * 14 + products + 7 * 14


@pytest.mark.parametrize("lr", [0, -1])
def test_wrong_lr_is_refused(lr):
    with pytest.raises(PluginError, match=r"'lr'.*greater than 0"):
        build("optimizer", {"name": "normalized_adam", "lr": lr})

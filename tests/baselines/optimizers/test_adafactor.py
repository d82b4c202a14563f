"""Adafactor beside its formulas and beside torch's; second moments of rank one; clipping and relative rates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from baselines.optimizers.adafactor import Adafactor
from harness.errors import PluginError
from harness.methods.construct import build
from harness.methods.optimizer import Optimizer
from harness.methods.parametrization import Scaling
from tests.baselines.optimizers import lockstep
from tests.baselines.optimizers.toys import (
    draw_gradients,
    hidden,
    make_groups,
    parameters,
    relative,
    side_by_side,
    values,
)

ROUNDING = 1e-11
"""Float64, 20 steps of element-wise work and of means over at most 54 elements."""
FIRST_PAPER = {"relative": True, "beta1": 0.0, "beta2_cap": 1.0}


def root_mean_square(x: Tensor) -> Tensor:
    return x.norm() / x.numel() ** 0.5


@pytest.mark.parametrize("fields", [{}, FIRST_PAPER, {"clip": 0.5, "decay_power": 0.5, "beta2_cap": 0.6}])
def test_twenty_steps_equal_a_plain_float64_loop(fields):
    method = Adafactor(lr=0.02, weight_decay=0.3, eps=1e-4, eps_scale=0.1, decay_vectors=True, **fields)

    def plain(p: Tensor, role: str) -> lockstep.Step:
        second, m, t = torch.zeros_like(p), torch.zeros_like(p), 0
        R, C = torch.zeros(p.shape[0]).to(p), torch.zeros(p.shape[-1]).to(p)

        def step(g: Tensor, lr: float) -> Tensor:
            nonlocal p, second, R, C, m, t
            t += 1
            b = min(method.beta2_cap, 1 - t ** (-method.decay_power))
            square = g**2 + 1e-4
            if p.ndim == 2:
                # The paper sums; the product over the sum of all is the same.
                R = b * R + (1 - b) * square.sum(1)
                C = b * C + (1 - b) * square.sum(0)
                V = torch.outer(R, C) / R.sum()
            else:
                V = second = b * second + (1 - b) * square
            u = g / V.sqrt()
            u = u / max(1.0, float(root_mean_square(u)) / method.clip)
            m = method.beta1 * m + (1 - method.beta1) * u
            scale = max(0.1, float(root_mean_square(p))) if method.relative else 1.0
            p = p - lr * 0.3 * p - lr * scale * m
            return p

        return step

    found = lockstep.errors(method, plain)
    assert max(found.values()) < ROUNDING, found


def test_the_first_papers_form_equals_torchs():
    """torch's rate is min(lr, 1 / sqrt(t)), so lr for 20 steps; its eps bounds what ours is added to."""
    shapes = [(5, 8), (8, 5), (6, 6)]
    ours, theirs = lockstep.in_double(hidden(*shapes)), lockstep.in_double(hidden(*shapes))
    start = [p.detach().clone() for p in parameters(ours)]
    one = Adafactor(lr=0.2, weight_decay=0.1, **FIRST_PAPER).build(ours)
    two = torch.optim.Adafactor(parameters(theirs), lr=0.2, weight_decay=0.1, eps=(1e-30, 1e-3))
    for step in range(20):
        side_by_side(one, ours, two, theirs, step)
    for a, b, s in zip(parameters(ours), parameters(theirs), start, strict=True):
        assert relative(a.detach() - s, b.detach() - s) < ROUNDING


def test_a_second_moment_of_rank_one_is_kept_whole():
    """Squares a_i b_j of gradients whose signs and size change: the factored moment is then the whole one."""
    matrix, vector = lockstep.in_double(hidden((5, 8))), lockstep.in_double(hidden((40,)))
    (W,), (w,) = parameters(matrix), parameters(vector)
    w.data.copy_(W.data.flatten())
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(n, generator=generator, dtype=torch.float64) + 0.1 for n in (5, 8))
    method = Adafactor(lr=0.1)
    one, two = method.build(matrix), method.build(vector)
    for step in range(10):
        sign = torch.randn(5, 8, generator=generator).sign().double()
        W.grad = (1 + step) * sign * torch.outer(a, b)
        w.grad = W.grad.flatten().clone()
        one.step()
        two.step()
        assert set(one.state[W]) == {"steps", "row_mean_sq", "column_mean_sq", "exp_avg"}
        torch.testing.assert_close(W.detach().flatten(), w.detach(), rtol=ROUNDING, atol=ROUNDING)


def test_the_first_update_of_a_rank_one_gradient_is_its_sign():
    groups = hidden((5, 8))
    (p,) = parameters(groups)
    p.grad = torch.outer(torch.tensor([1.0, -2.0, 3.0, -4.0, 5.0]), torch.arange(8.0) - 3.5)
    before = p.detach().clone()
    Adafactor(lr=0.1, weight_decay=0.0, beta1=0.0).build(groups).step()
    torch.testing.assert_close(p.detach() - before, -0.1 * p.grad.sign(), rtol=1e-5, atol=1e-7)


def test_a_matrix_keeps_its_sides_and_a_vector_itself():
    groups = make_groups([("hidden", "w", (3, 16, 8)), ("vector", "b", (16,))])
    optimizer = Adafactor(lr=0.1, beta1=0.0).build(groups)
    optimizer.step()
    matrix, vector = ({k: s for k, s in optimizer.state[p].items() if k != "steps"} for p in parameters(groups))
    assert {k: tuple(s.shape) for k, s in matrix.items()} == {
        "row_mean_sq": (3, 16, 1), "column_mean_sq": (3, 1, 8),
    }  # fmt: skip
    assert {k: tuple(s.shape) for k, s in vector.items()} == {"exp_avg_sq": (16,)}


@pytest.mark.parametrize("clip", [0.25, 1.0])
def test_a_burst_of_gradient_moves_each_matrix_by_no_more_than_the_clip(clip):
    groups = hidden((3, 8, 8))
    (p,) = parameters(groups)
    optimizer = Adafactor(lr=1.0, weight_decay=0.0, beta1=0.0, clip=clip).build(groups)
    for step in range(5):
        draw_gradients(groups, step)
        optimizer.step()
    before = p.detach().clone()
    draw_gradients(groups, 5)
    p.grad[1] *= 1000
    optimizer.step()
    moved = (p.detach() - before).square().mean((1, 2)).sqrt()
    assert moved[1].item() == pytest.approx(clip, rel=1e-5)
    assert (moved <= clip * (1 + 1e-5)).all()


def test_a_relative_rate_follows_the_size_of_the_weights_down_to_its_least():
    moved = {}
    for size in (1e-9, 1.0, 2.0):
        groups = lockstep.in_double(hidden((8, 8)))
        (p,) = parameters(groups)
        p.data.div_(root_mean_square(p.data)).mul_(size)
        p.grad = torch.outer(torch.arange(8) - 3.5, torch.arange(8) - 3.5).double()
        before = p.detach().clone()
        Adafactor(lr=0.1, weight_decay=0.0, **FIRST_PAPER).build(groups).step()
        moved[size] = root_mean_square(p.detach() - before).item()
    assert moved == pytest.approx({1e-9: 0.1 * 1e-3, 1.0: 0.1, 2.0: 0.2})


def test_zero_gradients_only_decay():
    groups = make_groups()
    for p in parameters(groups):
        p.grad = torch.zeros_like(p)
    before = values(groups)
    Adafactor(lr=0.1, weight_decay=0.5, decay_vectors=True).build(groups).step()
    for p, b in zip(parameters(groups), before, strict=True):
        torch.testing.assert_close(p.detach(), b * 0.95)


def test_multipliers_scale_lr_and_weight_decay():
    scaling = Scaling(init_std=1.0, lr=0.5, weight_decay=4.0)
    optimizer = Adafactor(lr=0.02, weight_decay=0.1).build(make_groups(scaling=scaling))
    assert [g["lr"] for g in optimizer.param_groups] == [0.01] * 7
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.4] * 6 + [0.0]


def test_it_is_registered_and_counts_its_flops():
    method = build("optimizer", {"name": "adafactor", "lr": 0.01})
    assert isinstance(method, Adafactor) and isinstance(method, Optimizer)
    assert {method.family(role) for role in ("embedding", "hidden", "readout", "vector")} == {"adam"}
    shapes = [("hidden", (3, 4, 5)), ("vector", (7,))]
    assert method.flops_per_step(shapes) == 15 * 60 + 16 * 7
    assert Adafactor(lr=1.0, beta1=0.0).flops_per_step(shapes) == 12 * 60 + 13 * 7
    assert Adafactor(lr=1.0, relative=True).flops_per_step(shapes) == 18 * 60 + 19 * 7


@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", 0.0), ("beta1", 1.0), ("decay_power", 1.5), ("beta2_cap", 1.1), ("clip", 0.0), ("eps", 0.0)],
)
def test_bad_values_are_named(field, value):
    with pytest.raises(PluginError, match=rf"'adafactor', key '{field}'"):
        build("optimizer", {"name": "adafactor", "lr": 0.1, field: value})

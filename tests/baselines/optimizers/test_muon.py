"""Muon's step: closed forms per scale rule, routing, fused projections, resume."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from baselines.optimizers import muon as module
from baselines.optimizers._newton_schulz import COEFFICIENTS, newton_schulz_flops
from baselines.optimizers.adamw import AdamW
from baselines.optimizers.muon import Muon
from harness.errors import HarnessError, PluginError
from harness.methods.construct import build, canonical
from harness.methods.optimizer import Optimizer, ParameterGroup
from harness.methods.parametrization import Scaling
from tests.baselines.optimizers.toys import (
    TRANSFORMER,
    draw_gradients,
    exact,
    hidden,
    make_groups,
    parameters,
    relative,
    values,
)

FACTOR = {
    "naive": lambda out, into: 1.0,
    "keller": lambda out, into: math.sqrt(out / into) if out > into else 1.0,
    "spectral": lambda out, into: math.sqrt(out / into),
    "moonlight": lambda out, into: 0.2 * math.sqrt(max(out, into)),
}


def one_step(method: Muon, groups: list[ParameterGroup]) -> list[torch.Tensor]:
    """Change of each parameter in one step."""
    before = values(groups)
    method.build(groups).step()
    return [p.detach() - b for p, b in zip(parameters(groups), before, strict=True)]


@pytest.mark.parametrize("shape", [(16, 16), (16, 64), (64, 16)])
@pytest.mark.parametrize("scale", FACTOR)
def test_step_equals_the_closed_form(scale, shape):
    groups = hidden(shape)
    (start,), gradient = values(groups), parameters(groups)[0].grad
    method = Muon(lr=0.02, weight_decay=0.3, scale=scale, precision="float32")
    (change,) = one_step(method, groups)
    update = exact(gradient, "keller")
    wanted = -0.02 * 0.3 * start.double() - 0.02 * FACTOR[scale](*shape) * update
    assert relative(change, wanted) < 1e-4


@pytest.mark.parametrize("nesterov", [True, False])
def test_several_steps_equal_a_plain_float64_loop(nesterov):
    groups = hidden((12, 20))
    method = Muon(lr=0.01, weight_decay=0.1, momentum=0.9, nesterov=nesterov, precision="float32")
    optimizer = method.build(groups)
    W, m = values(groups)[0].double(), torch.zeros(12, 20, dtype=torch.float64)
    start = W.clone()
    for step in range(4):
        draw_gradients(groups, step)
        g = parameters(groups)[0].grad.double()
        m = 0.9 * m + 0.1 * g
        u = 0.9 * m + 0.1 * g if nesterov else m
        W = W - 0.01 * 0.1 * W - 0.01 * 0.2 * math.sqrt(20) * exact(u, "keller")
        optimizer.step()
    assert relative(parameters(groups)[0].detach() - start, W - start) < 1e-3


@pytest.mark.parametrize("shape", [(16, 16), (32, 8), (8, 32), (3, 16, 16), (2, 24, 48)])
def test_update_rms_is_point_two_under_the_moonlight_rule(shape):
    (tight,) = one_step(
        Muon(lr=1.0, weight_decay=0.0, coefficients="exact", precision="float32"), hidden(shape)
    )
    assert tight.square().mean().sqrt().item() == pytest.approx(0.2, rel=1e-3)
    (usual,) = one_step(Muon(lr=1.0, weight_decay=0.0), hidden(shape))
    assert 0.2 * 0.68 < usual.square().mean().sqrt().item() < 0.2 * 1.21


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
def test_each_coefficient_set_is_the_one_that_is_used(coefficients):
    groups = hidden((10, 24))
    wanted = -exact(parameters(groups)[0].grad, coefficients)
    method = Muon(lr=1.0, weight_decay=0.0, scale="naive", coefficients=coefficients, precision="float32")
    assert relative(one_step(method, groups)[0], wanted) < 1e-3


def test_number_of_steps_is_the_one_that_is_asked_for():
    groups = hidden((10, 24))
    wanted = -exact(parameters(groups)[0].grad, "keller", steps=7)
    method = Muon(lr=1.0, weight_decay=0.0, scale="naive", ns_steps=7, precision="float32")
    assert relative(one_step(method, groups)[0], wanted) < 1e-3


def test_fused_projection_is_three_separate_matrices_exactly():
    fused = hidden((3, 16, 16))
    separate = hidden((16, 16), (16, 16), (16, 16))
    for i, p in enumerate(parameters(separate)):
        p.data.copy_(parameters(fused)[0].data[i])
    one, three = Muon(lr=0.02).build(fused), Muon(lr=0.02).build(separate)
    for step in range(3):
        draw_gradients(fused, step)
        for i, p in enumerate(parameters(separate)):
            p.grad = parameters(fused)[0].grad[i].clone()
        one.step()
        three.step()
    for i, p in enumerate(parameters(separate)):
        assert torch.equal(p, parameters(fused)[0][i])


def test_unsplit_fused_projection_is_one_tall_matrix():
    whole, tall, split = hidden((3, 16, 16)), hidden((48, 16)), hidden((3, 16, 16))
    parameters(tall)[0].data.copy_(parameters(whole)[0].data.reshape(48, 16))
    parameters(tall)[0].grad = parameters(whole)[0].grad.reshape(48, 16).clone()
    (a,) = one_step(Muon(lr=0.02, split_fused=False), whole)
    (b,) = one_step(Muon(lr=0.02), tall)
    (c,) = one_step(Muon(lr=0.02), split)
    assert torch.equal(a.reshape(48, 16), b)
    assert relative(a, c) > 0.1


shapes = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["embedding", "hidden", "readout", "vector"]), shapes), min_size=1))
def test_only_hidden_matrices_are_ever_in_a_muon_group(spec):
    spec = [(role, (4, *shape)[-3:] if role == "hidden" else shape) for role, shape in spec]
    groups = make_groups([(role, f"p{i}", shape) for i, (role, shape) in enumerate(spec)])
    optimizer = Muon(lr=0.01).build(groups)
    seen = 0
    for torch_group in optimizer.param_groups:
        seen += len(torch_group["params"])
        assert (torch_group["family"] == "muon") == (torch_group["role"] == "hidden")
        assert Muon(lr=0.01).family(torch_group["role"]) == torch_group["family"]
    assert seen == len(spec)
    optimizer.step()
    for torch_group in optimizer.param_groups:
        for p in torch_group["params"]:
            assert ("momentum_buffer" in optimizer.state[p]) == (torch_group["role"] == "hidden")


def test_a_hidden_vector_is_refused_by_name():
    with pytest.raises(HarnessError, match=r"'w0' has role hidden and shape \(5,\).*\(fan_out, fan_in\)"):
        Muon(lr=0.01).build(hidden((5,)))


def test_adam_part_equals_adamw_bit_for_bit():
    rest = [entry for entry in TRANSFORMER if entry[0] != "hidden"]
    ours, theirs = make_groups(), make_groups(rest)
    for a, b in zip([g for g in ours if g.role != "hidden"], theirs, strict=True):
        b.parameters[0].data.copy_(a.parameters[0].data)
    one = Muon(lr=0.02, adam_lr=0.003, adam_weight_decay=0.05, adam_eps=1e-6).build(ours)
    two = AdamW(lr=0.003, weight_decay=0.05, eps=1e-6).build(theirs)
    for step in range(3):
        draw_gradients(ours, step)
        for a, b in zip([g for g in ours if g.role != "hidden"], theirs, strict=True):
            b.parameters[0].grad = a.parameters[0].grad.clone()
        one.step()
        two.step()
    for a, b in zip([g for g in ours if g.role != "hidden"], theirs, strict=True):
        assert torch.equal(a.parameters[0], b.parameters[0])


def test_adam_part_takes_lr_and_weight_decay_of_the_matrices_by_default():
    optimizer = Muon(lr=0.02, weight_decay=0.3).build(make_groups())
    assert {g["lr"] for g in optimizer.param_groups} == {0.02}
    assert {g["role"]: g["weight_decay"] for g in optimizer.param_groups} == {
        "embedding": 0.3,
        "hidden": 0.3,
        "readout": 0.3,
        "vector": 0.0,
    }
    decayed = Muon(lr=0.02, weight_decay=0.3, decay_vectors=True).build(make_groups())
    assert {g["weight_decay"] for g in decayed.param_groups} == {0.3}


def test_weight_decay_decays_with_the_unscaled_lr():
    groups = make_groups()
    for p in parameters(groups):
        p.grad = torch.zeros_like(p)
    before = values(groups)
    optimizer = Muon(lr=0.1, weight_decay=0.5, decay_vectors=True).build(groups)
    optimizer.step()
    optimizer.step()
    for p, b in zip(parameters(groups), before, strict=True):
        torch.testing.assert_close(p.detach(), b * (1 - 0.1 * 0.5) ** 2)


def test_multipliers_scale_lr_weight_decay_and_eps():
    scaling = Scaling(init_std=1.0, lr=0.5, weight_decay=4.0, eps=100.0)
    optimizer = Muon(lr=0.02, weight_decay=0.1, adam_eps=1e-8).build(make_groups(scaling=scaling))
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.01)
        if group["role"] != "vector":
            assert group["weight_decay"] == pytest.approx(0.4)
        if group["family"] == "adam":
            assert group["eps"] == pytest.approx(1e-6)
    (plain,) = one_step(Muon(lr=0.02, weight_decay=0.0), hidden((8, 8)))
    (half,) = one_step(Muon(lr=0.02, weight_decay=0.0), hidden((8, 8), scaling=scaling))
    torch.testing.assert_close(half, plain / 2, rtol=1e-4, atol=1e-7)


def test_equal_matrices_of_groups_with_other_lr_share_a_stack_and_keep_their_lr(monkeypatch):
    calls = []
    original = module.orthogonalize_
    monkeypatch.setattr(
        module, "orthogonalize_", lambda X, *a, **k: calls.append(len(X)) or original(X, *a, **k)
    )
    slow, fast = hidden((8, 8)), hidden((8, 8), scaling=Scaling(init_std=0.0, lr=3.0))
    a, b = one_step(Muon(lr=0.02, weight_decay=0.0), slow + fast)
    assert calls == [2]
    torch.testing.assert_close(b, 3 * a, rtol=1e-4, atol=1e-7)


def test_splitting_a_stack_changes_nothing(monkeypatch):
    shapes = [(16, 16)] * 5 + [(2, 16, 16)]
    together = one_step(Muon(lr=0.02), hidden(*shapes))
    monkeypatch.setattr(module, "STACK_ELEMENTS", {"cpu": 600})
    apart = one_step(Muon(lr=0.02), hidden(*shapes))
    for a, b in zip(together, apart, strict=True):
        assert relative(a, b) < 2e-2


@pytest.mark.parametrize("scale", FACTOR)
def test_turning_tall_matrices_into_wide_ones_stacks_leaves_the_step_as_it_is(scale, monkeypatch):
    shapes = [(8, 32), (32, 8), (3, 8, 8), (2, 32, 8), (32, 8)]
    calls = []
    original = module.orthogonalize_
    monkeypatch.setattr(
        module, "orthogonalize_", lambda X, *a, **k: calls.append(tuple(X.shape)) or original(X, *a, **k)
    )
    method = Muon(lr=0.02, scale=scale, precision="float32")
    turned = one_step(method, hidden(*shapes))
    assert sorted(calls) == [(3, 8, 8), (5, 8, 32)]
    monkeypatch.setattr(module, "TURN_ELEMENTS", {})
    for a, b in zip(turned, one_step(method, hidden(*shapes)), strict=True):
        assert relative(a, b) < 1e-4
    assert sorted(calls[2:]) == [(1, 8, 32), (3, 8, 8), (4, 32, 8)]


def test_a_schedule_scales_every_group():
    groups = make_groups()
    optimizer = Muon(lr=0.02, adam_lr=0.004, weight_decay=0.0).build(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx(
        [0.01 if g["family"] == "muon" else 0.002 for g in optimizer.param_groups]
    )
    before = values(groups)
    optimizer.step()
    schedule.step()
    plain = make_groups()
    full = one_step(Muon(lr=0.02, adam_lr=0.004, weight_decay=0.0), plain)
    for p, b, change in zip(parameters(groups), before, full, strict=True):
        torch.testing.assert_close(p.detach() - b, change / 2, rtol=1e-3, atol=1e-6)


def test_gradient_scale_and_clipping_do_not_limit_the_update():
    whole = one_step(Muon(lr=0.02), hidden((16, 16), (16, 64)))
    scaled = hidden((16, 16), (16, 64))
    nn.utils.clip_grad_norm_(parameters(scaled), 1e-3)
    assert all(p.grad.norm() < 2e-3 for p in parameters(scaled))
    for a, b in zip(whole, one_step(Muon(lr=0.02), scaled), strict=True):
        assert relative(b, a) < 2e-2


def test_gradients_are_left_as_they_are_and_missing_ones_leave_the_parameter_alone():
    groups = make_groups()
    parameters(groups)[2].grad = None
    gradients = [None if p.grad is None else p.grad.clone() for p in parameters(groups)]
    changes = one_step(Muon(lr=0.02), groups)
    for p, gradient in zip(parameters(groups), gradients, strict=True):
        assert (p.grad is None) if gradient is None else torch.equal(p.grad, gradient)
    assert not changes[2].any()
    assert changes[3].any()


def test_same_inputs_same_bits():
    runs = []
    for _ in range(2):
        groups = make_groups()
        optimizer = Muon(lr=0.02).build(groups)
        for step in range(3):
            draw_gradients(groups, step)
            optimizer.step()
        runs.append(values(groups))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_flops_count_products_elements_and_the_adam_part():
    shapes = [(role, shape) for role, _, shape in TRANSFORMER]
    schedule = COEFFICIENTS["keller"].schedule()
    matrices = 4 * newton_schulz_flops(16, 16, schedule) + 2 * newton_schulz_flops(16, 64, schedule)
    elements = 4 * 16 * 16 + 2 * 16 * 64
    rest = 2 * 40 * 16 + 16
    assert Muon(lr=0.02).flops_per_step(shapes) == matrices + 12 * elements + 14 * rest
    more = Muon(lr=0.02, split_fused=False).flops_per_step(shapes)
    assert more - Muon(lr=0.02).flops_per_step(shapes) == newton_schulz_flops(
        48, 16, schedule
    ) - 3 * newton_schulz_flops(16, 16, schedule)


def test_it_is_registered_and_meets_the_protocol():
    method = build("optimizer", {"name": "muon", "lr": 0.01, "scale": "spectral"})
    assert isinstance(method, Muon) and isinstance(method, Optimizer)
    assert canonical("optimizer", {"name": "muon", "lr": 0.01, "momentum": 0.95}) == {
        "name": "muon",
        "lr": 0.01,
    }
    low, high, scale = Muon.search_space["lr"]
    assert 0 < low < high and scale == "log2"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 0.0}, r"'lr'.*greater than 0"),
        ({"lr": float("nan")}, r"'lr'.*nan"),
        ({"lr": float("inf")}, r"'lr'.*finite number"),
        ({"lr": 0.1, "weight_decay": -1.0}, r"'weight_decay'.*greater than or equal to 0"),
        ({"lr": 0.1, "momentum": 1.0}, r"'momentum'.*less than 1"),
        ({"lr": 0.1, "adam_lr": -0.1}, r"'adam_lr'.*greater than 0"),
        ({"lr": 0.1, "ns_steps": 0}, r"'ns_steps'.*greater than or equal to 1"),
        ({"lr": 0.1, "coefficients": "su", "ns_steps": 6}, "'su': this coefficient set has 5 steps, not 6"),
        ({"lr": 0.1, "scale": "moonlite"}, r"'scale'.*'naive', 'keller', 'spectral' or 'moonlight'"),
        ({"lr": 0.1, "coefficients": "kelle"}, r"'coefficients'.*'keller'"),
    ],
)
def test_values_out_of_range_are_named(fields, message):
    with pytest.raises(PluginError, match=message):
        build("optimizer", {"name": "muon", **fields})


def test_an_empty_parameter_is_left_alone_and_divides_nothing():
    groups = hidden((0, 8), (8, 0), (0, 4, 4), (8, 8))
    before = values(groups)
    optimizer = Muon(lr=0.1).build(groups)
    optimizer.step()
    after = values(groups)
    assert [p.shape for p in after] == [p.shape for p in before]
    assert not torch.equal(after[-1], before[-1]) and after[-1].isfinite().all()

"""AdamW and SGD against plain float64 loops, and what every optimizer baseline must keep: resume."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from baselines.optimizers.adamw import AdamW
from baselines.optimizers.muon import Muon
from baselines.optimizers.sgd import SGD
from baselines.optimizers.torch_muon import TorchMuon
from harness import registry
from harness.errors import PluginError
from harness.methods.construct import build
from harness.methods.optimizer import Optimizer
from harness.methods.parametrization import Scaling
from harness.methods.roles import ROLES
from tests.baselines.optimizers.toys import TRANSFORMER, draw_gradients, make_groups, parameters, values

SHAPES = [(role, shape) for role, _, shape in TRANSFORMER]
METHODS = [
    AdamW(lr=0.004),
    Muon(lr=0.02),
    Muon(lr=0.02, coefficients="polar_express", precision="float32", split_fused=False),
    TorchMuon(lr=0.02),
    SGD(lr=0.1),
    SGD(lr=0.1, momentum=0.5, nesterov=True),
]


def test_adamw_equals_a_plain_float64_loop():
    scaling = Scaling(init_std=0.0, lr=0.5, weight_decay=3.0, eps=1e6)
    groups = make_groups(scaling=scaling)
    method = AdamW(lr=0.01, weight_decay=0.2, beta1=0.8, beta2=0.9, eps=1e-8)
    optimizer = method.build(groups)
    ps = [v.double() for v in values(groups)]
    ms, vs = [torch.zeros_like(p) for p in ps], [torch.zeros_like(p) for p in ps]
    lr, eps = 0.01 * 0.5, 1e-8 * 1e6
    for t in range(1, 6):
        draw_gradients(groups, t)
        for i, group in enumerate(groups):
            g = group.parameters[0].grad.double()
            decay = 0.0 if group.role == "vector" else 0.2 * 3.0
            ms[i] = 0.8 * ms[i] + 0.2 * g
            vs[i] = 0.9 * vs[i] + 0.1 * g * g
            step = ms[i] / (1 - 0.8**t) / ((vs[i] / (1 - 0.9**t)).sqrt() + eps)
            ps[i] = ps[i] - lr * decay * ps[i] - lr * step
        optimizer.step()
    for p, wanted in zip(parameters(groups), ps, strict=True):
        torch.testing.assert_close(p.detach().double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_equals_a_plain_float64_loop(nesterov):
    groups = make_groups(scaling=Scaling(init_std=0.0, lr=2.0, weight_decay=0.5))
    optimizer = SGD(lr=0.05, momentum=0.8, nesterov=nesterov, weight_decay=0.4).build(groups)
    ps = [v.double() for v in values(groups)]
    ms = [torch.zeros_like(p) for p in ps]
    for t in range(4):
        draw_gradients(groups, t)
        for i, group in enumerate(groups):
            g = group.parameters[0].grad.double() + (0.0 if group.role == "vector" else 0.2) * ps[i]
            ms[i] = 0.8 * ms[i] + g
            ps[i] = ps[i] - 0.1 * (g + 0.8 * ms[i] if nesterov else ms[i])
        optimizer.step()
    for p, wanted in zip(parameters(groups), ps, strict=True):
        torch.testing.assert_close(p.detach().double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", [AdamW(lr=0.1, weight_decay=0.5), AdamW(lr=0.1, decay_vectors=True)])
def test_weight_decay_decays_and_spares_vectors_unless_asked(method):
    groups = make_groups()
    for p in parameters(groups):
        p.grad = torch.zeros_like(p)
    before = values(groups)
    method.build(groups).step()
    for group, b in zip(groups, before, strict=True):
        decays = method.decay_vectors or group.role != "vector"
        torch.testing.assert_close(
            group.parameters[0].detach(), b * (1 - 0.1 * method.weight_decay * decays)
        )


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_resuming_from_state_is_bit_identical(method):
    whole = make_groups()
    optimizer = method.build(whole)
    for step in range(3):
        draw_gradients(whole, step)
        optimizer.step()
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "values": values(whole)}, file)
    for step in range(3, 6):
        draw_gradients(whole, step)
        optimizer.step()

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = make_groups(seed=9)
    for p, value in zip(parameters(resumed), saved["values"], strict=True):
        p.data.copy_(value)
    again = method.build(resumed)
    again.load_state_dict(saved["optimizer"])
    for step in range(3, 6):
        draw_gradients(resumed, step)
        again.step()
    for a, b in zip(parameters(whole), parameters(resumed), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_loading_into_an_optimizer_that_has_stepped_replaces_its_state(method):
    whole = make_groups()
    optimizer = method.build(whole)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    other = make_groups()
    for p in parameters(other):
        p.grad *= -3
    used = method.build(other)
    used.step()
    used.load_state_dict(state)
    for p, value in zip(parameters(other), values(whole), strict=True):
        p.data.copy_(value)
    for groups, o in ((other, used), (whole, optimizer)):
        draw_gradients(groups, 5)
        o.step()
    for a, b in zip(parameters(whole), parameters(other), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_every_method_meets_the_protocol(method):
    assert isinstance(method, Optimizer)
    assert {method.family(role) for role in ROLES} <= {"adam", "muon", "sgd"}
    groups = make_groups()
    optimizer = method.build(groups)
    held = [p for g in optimizer.param_groups for p in g["params"]]
    assert [id(p) for p in held] == [id(p) for p in parameters(groups)]
    assert all(g["lr"] == method.lr for g in optimizer.param_groups)
    assert method.flops_per_step(SHAPES) > 0
    before = [p.grad.clone() for p in parameters(groups)]
    loss = optimizer.step(lambda: torch.tensor(2.0))
    assert float(loss) == 2.0
    assert all(torch.equal(p.grad, b) for p, b in zip(parameters(groups), before, strict=True))


def test_flops_are_counted_per_element():
    elements = 40 * 16 * 2 + 4 * 16 * 16 + 2 * 16 * 64 + 16
    assert AdamW(lr=0.1).flops_per_step(SHAPES) == 14 * elements
    assert SGD(lr=0.1).flops_per_step(SHAPES) == 6 * elements


@pytest.mark.parametrize("name", ["adamw", "muon", "torch_muon", "sgd"])
def test_search_ranges_name_fields_and_lie_within_them(name):
    cls = registry.method_class("optimizer", name)
    for key, (low, high, scale) in cls.search_space.items():
        assert scale == "log2" and low < high
        for value in (low, high):
            assert build("optimizer", {"name": name, "lr": 0.01, key: value})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "adamw", "lr": 0.0}, r"'adamw', key 'lr'.*greater than 0"),
        ({"name": "adamw", "lr": float("inf")}, r"'lr'.*finite number"),
        ({"name": "adamw", "lr": 0.1, "beta2": 1.0}, r"'beta2'.*less than 1"),
        ({"name": "adamw", "lr": 0.1, "eps": 0.0}, r"'eps'.*greater than 0"),
        ({"name": "sgd", "lr": 0.1, "momentum": -0.1}, r"'momentum'.*greater than or equal to 0"),
        ({"name": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": True}, "nesterov needs momentum > 0"),
    ],
)
def test_values_out_of_range_are_named(config, message):
    with pytest.raises(PluginError, match=message):
        build("optimizer", config)

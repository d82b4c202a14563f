"""torch.optim.Muon as an independent reference for ours, and the wrapper around it."""

from __future__ import annotations

import pytest
import torch

from baselines.optimizers.adamw import AdamW
from baselines.optimizers.muon import Muon
from baselines.optimizers.torch_muon import ADJUST, TorchMuon
from harness import registry
from harness.errors import HarnessError
from harness.methods.construct import build
from harness.methods.optimizer import Optimizer
from tests.baselines.optimizers.toys import (
    draw_gradients,
    hidden,
    make_groups,
    parameters,
    relative,
    side_by_side,
    values,
)

pytestmark = pytest.mark.skipif(TorchMuon.available() is not None, reason="no torch.optim.Muon")
BF16_NOISE = 0.03
"""Both iterate in bfloat16; they differ in how the norm is rounded and in the kernels' order of sums."""


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("scale", ADJUST)
def test_our_steps_equal_torchs(scale, nesterov):
    shapes = [(24, 24), (3, 24, 24), (24, 96), (96, 24), (17, 40)]
    ours, theirs = hidden(*shapes), hidden(*shapes)
    start = values(ours)
    common = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.9, "nesterov": nesterov, "scale": scale}
    one, two = Muon(**common).build(ours), TorchMuon(**common).build(theirs)
    for step in range(4):
        side_by_side(one, ours, two, theirs, step)
        for a, b, s in zip(parameters(ours), parameters(theirs), start, strict=True):
            assert relative(a.detach() - s, b.detach() - s) < BF16_NOISE


def test_wrapper_equals_torchs_two_optimizers_bit_for_bit():
    wrapped, plain = make_groups(), make_groups()
    optimizer = TorchMuon(lr=0.02, weight_decay=0.1, adam_lr=0.004).build(wrapped)
    separate = []
    for group in plain:
        for p in group.parameters:
            if group.role == "hidden":
                rows, columns = p.shape[-2:]
                separate += list(p.detach().view(-1, rows, columns).unbind(0))
    muon = torch.optim.Muon(separate, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adam = AdamW(lr=0.004, weight_decay=0.1).build([g for g in plain if g.role != "hidden"])
    for step in range(3):
        draw_gradients(wrapped, step)
        draw_gradients(plain, step)
        gradients = []
        for group in plain:
            if group.role == "hidden":
                grad = group.parameters[0].grad
                gradients += list(grad.view(-1, *grad.shape[-2:]).unbind(0))
        for matrix, gradient in zip(separate, gradients, strict=True):
            matrix.grad = gradient
        optimizer.step()
        muon.step()
        adam.step()
    for a, b in zip(parameters(wrapped), parameters(plain), strict=True):
        assert torch.equal(a, b)


def test_groups_hold_the_parameters_themselves_with_their_lr():
    groups = make_groups()
    optimizer = TorchMuon(lr=0.02, adam_lr=0.004).build(groups)
    held = [p for g in optimizer.param_groups for p in g["params"]]
    assert [id(p) for p in held] == [id(p) for p in parameters(groups)]
    assert [g["lr"] for g in optimizer.param_groups] == [
        0.02 if g["role"] == "hidden" else 0.004 for g in optimizer.param_groups
    ]
    optimizer.step()
    before = values(groups)
    for group in optimizer.param_groups:
        group["lr"] = group["weight_decay"] = 0.0
    optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(parameters(groups), before, strict=True))
    optimizer.zero_grad()
    assert all(p.grad is None for p in parameters(groups))
    optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(parameters(groups), before, strict=True))


def test_parameters_whose_storage_moves_are_still_trained():
    groups, stayed = hidden((3, 8, 8)), hidden((3, 8, 8))
    optimizer, other = TorchMuon(lr=0.02).build(groups), TorchMuon(lr=0.02).build(stayed)
    optimizer.step()
    other.step()
    p = parameters(groups)[0]
    p.data = p.data.clone()
    optimizer.step()
    other.step()
    assert torch.equal(p, parameters(stayed)[0])


def test_it_is_registered_and_meets_the_protocol():
    method = build("optimizer", {"name": "torch_muon", "lr": 0.01})
    assert isinstance(method, TorchMuon) and isinstance(method, Optimizer)
    assert registry.unavailable("optimizer", "torch_muon") is None
    shapes = [("hidden", (3, 16, 16)), ("hidden", (64, 16)), ("embedding", (40, 16)), ("vector", (16,))]
    assert method.flops_per_step(shapes) == Muon(lr=0.01).flops_per_step(shapes)


def test_it_says_why_it_cannot_run(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    assert "has no torch.optim.Muon" in (registry.unavailable("optimizer", "torch_muon") or "")


def test_bad_values_are_named():
    with pytest.raises(HarnessError, match=r"'torch_muon', key 'lr'.*greater than 0"):
        build("optimizer", {"name": "torch_muon", "lr": -1.0})
    with pytest.raises(HarnessError, match=r"key 'scale'.*'keller'.*'moonlight'"):
        build("optimizer", {"name": "torch_muon", "lr": 0.1, "scale": "naive"})
    with pytest.raises(HarnessError, match="role hidden and shape"):
        TorchMuon(lr=0.1).build(hidden((5,)))

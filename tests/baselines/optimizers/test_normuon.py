"""NorMuon beside its formulas; equal rows, the size of an update, and Muon where rows are equal already."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from baselines.optimizers._newton_schulz import COEFFICIENTS, newton_schulz_flops
from baselines.optimizers.adamw import AdamW
from baselines.optimizers.muon import Muon
from baselines.optimizers.normuon import NorMuon
from harness.errors import HarnessError, PluginError
from harness.methods.construct import build
from harness.methods.optimizer import Optimizer
from harness.methods.parametrization import Scaling
from tests.baselines.optimizers import lockstep
from tests.baselines.optimizers.toys import (
    draw_gradients,
    exact,
    hidden,
    make_groups,
    parameters,
    relative,
    side_by_side,
    values,
)

SINGLE = 1e-3
"""Newton-Schulz works in float32, and five of Keller's steps enlarge what rounding leaves of a small singular value
by 3.4445^5 = 485."""
HIDDEN = [entry for entry in lockstep.SMALL if entry[0] == "hidden"]


@pytest.mark.parametrize("scale", ["rms", "keller"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_twenty_steps_equal_a_plain_float64_loop(nesterov, scale):
    method = NorMuon(
        lr=0.01, weight_decay=0.3, momentum=0.9, beta2=0.8, nesterov=nesterov, scale=scale, precision="float32"
    )

    def plain(W: Tensor, role: str) -> lockstep.Step:
        m, v = torch.zeros_like(W), torch.zeros(len(W), dtype=W.dtype)
        rows, columns = W.shape

        def step(g: Tensor, lr: float) -> Tensor:
            nonlocal W, m, v
            m = 0.9 * m + 0.1 * g
            O = exact(0.9 * m + 0.1 * g if nesterov else m, "keller")
            v = 0.8 * v + 0.2 * (O * O).sum(1) / columns
            U = torch.diag(1 / v.sqrt()) @ O
            U = U / U.norm()
            if scale == "rms":
                U = U * 0.2 * (rows * columns) ** 0.5
            else:
                U = U * O.norm() * max(1, rows / columns) ** 0.5
            W = W - lr * 0.3 * W - lr * U
            return W

        return step

    found = lockstep.errors(method, plain, HIDDEN)
    assert max(found.values()) < SINGLE, found


def one_step(method, groups) -> list[Tensor]:
    before = values(groups)
    method.build(groups).step()
    return [p.detach() - b for p, b in zip(parameters(groups), before, strict=True)]


@pytest.mark.parametrize("shape", [(16, 16), (8, 32), (32, 8), (3, 16, 16)])
def test_the_rows_of_a_first_update_are_equally_large_with_rms_point_two(shape):
    (change,) = one_step(NorMuon(lr=0.5, weight_decay=0.0), hidden(shape))
    rows = change.square().mean(-1).sqrt()
    torch.testing.assert_close(rows, torch.full_like(rows, 0.5 * 0.2), rtol=1e-4, atol=0)


@pytest.mark.parametrize("step", range(3))
def test_every_update_has_the_same_size_while_its_rows_differ(step):
    groups = hidden((3, 8, 24))
    optimizer = NorMuon(lr=1.0, weight_decay=0.0).build(groups)
    for earlier in range(step):
        draw_gradients(groups, earlier)
        optimizer.step()
    before = values(groups)[0]
    draw_gradients(groups, step)
    optimizer.step()
    change = parameters(groups)[0].detach() - before
    torch.testing.assert_close(change.square().mean((-2, -1)).sqrt(), torch.full((3,), 0.2), rtol=1e-4, atol=0)
    spread = change.square().mean(-1).std() / change.square().mean()
    assert (spread < 1e-3) == (step == 0)


def test_a_wide_orthogonal_update_has_equal_rows_already_and_is_muons():
    """With O O^T = I each row has norm 1; then only the size tells NorMuon from Muon, and keller's is the same."""
    ours, theirs = hidden((8, 32), (12, 12)), hidden((8, 32), (12, 12))
    common = {"lr": 0.1, "weight_decay": 0.2, "coefficients": "exact", "ns_steps": 25, "precision": "float32"}
    one = NorMuon(scale="keller", **common).build(ours)
    two = Muon(scale="keller", **common).build(theirs)
    for step in range(3):
        side_by_side(one, ours, two, theirs, step)
    for a, b, s in zip(parameters(ours), parameters(theirs), values(hidden((8, 32), (12, 12))), strict=True):
        assert relative(a.detach() - s, b.detach() - s) < SINGLE


def test_keller_keeps_the_size_that_orthogonalisation_gave():
    groups = hidden((24, 8))
    size = exact(parameters(groups)[0].grad, "keller").norm() * math.sqrt(24 / 8)
    (change,) = one_step(NorMuon(lr=1.0, weight_decay=0.0, scale="keller", precision="float32"), groups)
    assert change.norm().item() == pytest.approx(size.item(), rel=SINGLE)


def test_fused_projection_is_three_separate_matrices():
    fused, separate = hidden((3, 8, 8)), hidden((8, 8), (8, 8), (8, 8))
    for i, p in enumerate(parameters(separate)):
        p.data.copy_(parameters(fused)[0].data[i])
    one, three = NorMuon(lr=0.02).build(fused), NorMuon(lr=0.02).build(separate)
    for step in range(3):
        draw_gradients(fused, step)
        for i, p in enumerate(parameters(separate)):
            p.grad = parameters(fused)[0].grad[i].clone()
        one.step()
        three.step()
    # Products of a stack may sum in another order than those of a single matrix; bfloat16 has 8 bits.
    for i, p in enumerate(parameters(separate)):
        assert relative(p.detach(), parameters(fused)[0][i].detach()) < 2**-8


def test_the_rest_is_adamws_bit_for_bit():
    ours, theirs = make_groups(), make_groups()
    one = NorMuon(lr=0.02, adam_lr=0.003, adam_weight_decay=0.05, adam_eps=1e-6).build(ours)
    two = AdamW(lr=0.003, weight_decay=0.05, eps=1e-6).build(theirs)
    for step in range(3):
        side_by_side(one, ours, two, theirs, step)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.parameters[0], b.parameters[0]) == (a.role != "hidden")


def test_a_zero_gradient_only_decays():
    groups = hidden((4, 6), (6, 4))
    for p in parameters(groups):
        p.grad = torch.zeros_like(p)
    before = values(groups)
    NorMuon(lr=0.1, weight_decay=0.5).build(groups).step()
    for p, b in zip(parameters(groups), before, strict=True):
        torch.testing.assert_close(p.detach(), b * 0.95)


def test_multipliers_scale_lr_weight_decay_and_eps():
    scaling = Scaling(init_std=1.0, lr=0.5, weight_decay=4.0, eps=100.0)
    optimizer = NorMuon(lr=0.02, weight_decay=0.1, adam_eps=1e-8).build(make_groups(scaling=scaling))
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.01)
        assert group["weight_decay"] == (0.0 if group["role"] == "vector" else 0.4)
        if group["family"] == "adam":
            assert group["eps"] == pytest.approx(1e-6)


@pytest.mark.parametrize(("scale", "each"), [("rms", 18), ("keller", 20)])
def test_it_is_registered_and_counts_its_flops(scale, each):
    method = build("optimizer", {"name": "normuon", "lr": 0.01, "scale": scale})
    assert isinstance(method, NorMuon) and isinstance(method, Optimizer)
    assert [method.family(role) for role in ("embedding", "hidden", "readout", "vector")] == [
        "adam", "muon", "adam", "adam",
    ]  # fmt: skip
    products = newton_schulz_flops(16, 32, COEFFICIENTS["keller"].schedule())
    shapes = [("hidden", (3, 16, 32)), ("vector", (7,))]
    assert method.flops_per_step(shapes) == 3 * products + each * 3 * 16 * 32 + 14 * 7


def test_bad_values_are_named():
    with pytest.raises(PluginError, match=r"'normuon', key 'scale'.*'rms'.*'keller'"):
        build("optimizer", {"name": "normuon", "lr": 0.1, "scale": "moonlight"})
    with pytest.raises(PluginError, match=r"polar_express.*has 5 steps, not 7.*leave ns_steps out"):
        build("optimizer", {"name": "normuon", "lr": 0.1, "coefficients": "polar_express", "ns_steps": 7})
    with pytest.raises(HarnessError, match=r"'w0' has role hidden and shape \(5,\)"):
        NorMuon(lr=0.1).build(hidden((5,)))

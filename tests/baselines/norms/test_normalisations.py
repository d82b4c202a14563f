"""RMSNorm and LayerNorm: values, gradients, messages."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from baselines.norms.layernorm import LayerNorm
from baselines.norms.rmsnorm import RMSNorm


@pytest.mark.parametrize("shape", [(3, 5, 24), (7, 24), (24,)])
def test_rmsnorm_on_a_cpu_equals_torchs_formula(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = RMSNorm(eps=1e-3).build(24, "final")
    with torch.no_grad():
        module.weight.copy_(torch.randn(24))
    x = (3 * torch.randn(shape) + 1).requires_grad_()
    g = torch.randn(shape)
    ours, theirs = module(x), F.rms_norm(x, (24,), module.weight, 1e-3)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    a = torch.autograd.grad(ours, (x, module.weight), g)
    b = torch.autograd.grad(theirs, (x, module.weight), g)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_rmsnorm_with_a_frozen_gain_has_no_gradient_for_it() -> None:
    module = RMSNorm().build(8, "attention")
    module.weight.requires_grad_(False)
    x = torch.randn(2, 8, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert module.weight.grad is None


def test_rmsnorm_ignores_scale_and_keeps_direction() -> None:
    module = RMSNorm(eps=0.0).build(16, "final")
    x = torch.randn(4, 16)
    torch.testing.assert_close(module(5 * x), module(x))
    torch.testing.assert_close(module(x).square().mean(-1), torch.ones(4))


def test_layernorm_centres_and_scales() -> None:
    y = LayerNorm().build(32, "final")(3 * torch.randn(4, 32) + 7)
    torch.testing.assert_close(y.mean(-1), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(4), rtol=1e-3, atol=1e-3)


def test_options_leave_out_gain_and_bias() -> None:
    assert not list(RMSNorm(gain=False).build(8, "final").parameters())
    assert len(list(LayerNorm(bias=False).build(8, "final").parameters())) == 1
    with pytest.raises(ValueError, match="bias true needs gain true"):
        LayerNorm(gain=False)
    with pytest.raises(ValueError, match="eps must be a number >= 0, got -1"):
        RMSNorm(eps=-1.0)


def test_layernorms_gains_start_where_told():
    x = torch.randn(4, 8)
    doubled, plain = (LayerNorm(gain_init=g).build(8, "final") for g in (2.0, 1.0))
    assert torch.equal(doubled(x), 2 * plain(x))
    with pytest.raises(ValueError, match="gain_init must be a number above 0, got 0"):
        LayerNorm(gain_init=0.0)
    with pytest.raises(ValueError, match=r"gain_init 2\.0 needs gain true"):
        LayerNorm(gain_init=2.0, gain=False, bias=False)

"""The functions of the ablation of shapes: scales in closed form, limits, gradients, number formats, messages."""

from __future__ import annotations

import math
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor

from baselines.norms._pointwise import PointwiseNorm, matched_gain
from baselines.norms.derf import Derf
from baselines.norms.dyisru import DyISRU
from baselines.norms.dyt import DyT
from baselines.norms.pointwise import FUNCTIONS, PointwiseFunction
from tests.workloads import tiny

BOUNDED = [n for n in FUNCTIONS if n != "cube_root"]
EVERY: dict[str, Any] = {"dyt": DyT, "derf": Derf, "dyisru": DyISRU} | {
    n: partial(PointwiseFunction, function=n) for n in FUNCTIONS
}


def mean_square(name: str, alpha: float) -> float:
    """E f(alpha z)^2 over a unit normal, by means other than the code's."""
    if name == "hardtanh":
        edge = 1 / alpha
        inside = 2 * stats.norm.cdf(edge) - 1 - 2 * edge * stats.norm.pdf(edge)
        return alpha**2 * inside + 2 * stats.norm.sf(edge)
    if name == "cube_root":
        return (2 * alpha**2) ** (2 / 3) * special.gamma(7 / 6) / math.sqrt(math.pi)
    scalar = {
        "arctan": lambda x: 2 / math.pi * math.atan(x),
        "arcsinh_clip": lambda x: max(-1.0, min(1.0, math.asinh(x))),
        "satursin": lambda x: math.sin(x) if abs(x) < math.pi / 2 else 1.0,
    }[name]
    bends = [math.sinh(1) / alpha, math.pi / 2 / alpha]
    half = integrate.quad(lambda z: scalar(alpha * z) ** 2 * stats.norm.pdf(z), 0, 12, points=bends)[0]
    return 2 * half


@pytest.mark.parametrize(("name", "alpha"), list(product(FUNCTIONS, [0.2, 0.5, 1.0, 2.0])))
def test_matched_gains_are_those_of_closed_forms_and_quadrature(name: str, alpha: float) -> None:
    # The rule's step is 5e-4, and a function with a bend is integrated to its square.
    assert matched_gain(FUNCTIONS[name], alpha) == pytest.approx(mean_square(name, alpha) ** -0.5, rel=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_matched_gain_gives_unit_rms_on_unit_normals(name: str) -> None:
    z = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    for site in ("attention", "feed_forward"):
        module = PointwiseFunction(function=name, gain="matched", alpha=0.4, alpha_attention=1.3).build(64, site)
        assert module.alpha.item() == pytest.approx(1.3 if site == "attention" else 0.4)
        assert module(z).square().mean().sqrt().item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_odd_and_rises(name: str) -> None:
    x = torch.linspace(-9, 9, 2001, dtype=torch.float64)
    y = FUNCTIONS[name](x)
    assert torch.equal(y, -FUNCTIONS[name](-x)) and bool((y.diff() >= 0).all()) and y[-1] > 0.9


@pytest.mark.parametrize("name", BOUNDED)
def test_limits_of_alpha(name: str) -> None:
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None].expand(13, 4)
    small, large = (PointwiseFunction(function=name, alpha=a).build(4, "final").double() for a in (1e-5, 1e7))
    slope = 2 / math.pi if name == "arctan" else 1.0
    assert torch.allclose(small(x) / 1e-5, slope * x, rtol=1e-4)
    # arctan is the slowest: 1 - f(y) = 2 / (pi y).
    assert torch.allclose(large(x), x.sign(), atol=1e-6)


def test_the_unbounded_one_is_homogeneous_and_has_a_gradient_at_zero() -> None:
    x = torch.tensor([-2.0, 0.0, 1e-30, 3.0], dtype=torch.float64, requires_grad=True)
    y = FUNCTIONS["cube_root"](x)
    torch.testing.assert_close(FUNCTIONS["cube_root"](8 * x), 4 * y)
    torch.testing.assert_close(y[3] ** 3, x[3] ** 2)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope[1] == 0 and slope.isfinite().all() and slope[3] == pytest.approx(2 / 3 * 3 ** (-1 / 3))


@pytest.mark.parametrize("channelwise", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_every_vector(name: str, channelwise: bool) -> None:
    norm = PointwiseFunction(function=name, channelwise=channelwise, bias=True, shift=True)
    module = norm.build(5, "final").double()
    # Away from the bends and from 0, where there is no slope.
    x = torch.tensor([[-4.1, -1.1, -0.6, 0.5, 1.3], [0.7, 0.2, 5.0, -0.9, 8.0]], dtype=torch.float64)
    values = [(p.detach() + 0.1).requires_grad_() for p in module.parameters()]
    names = [n for n, _ in module.named_parameters()]

    def applied(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    assert set(names) == {"alpha", "weight", "bias", "shift"}
    assert torch.autograd.gradcheck(applied, (x.requires_grad_(), *values))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", EVERY)
def test_value_and_gradient_inside_autocast_are_those_outside(name: str, dtype: torch.dtype) -> None:
    module = EVERY[name](bias=True, shift=True, channelwise=True).build(8, "final")
    x = torch.randn(6, 8, generator=torch.Generator().manual_seed(3)).to(dtype)
    found = []
    for inside in (False, True):
        given = (x if inside else x.float()).clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            y = module(given).float()
        gradients = torch.autograd.grad(y.square().sum(), (given, *module.parameters()))
        found.append((y, *(g.float() for g in gradients)))
    # Point-wise operations run in the input's format or a wider one: a rounding or two of that format.
    eps = torch.finfo(dtype).eps
    for ours, plain in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, plain, rtol=4 * eps, atol=8 * eps)


@pytest.mark.parametrize("name", EVERY)
def test_slopes_are_vectors_without_decay(name: str) -> None:
    method = name if name in ("dyt", "derf", "dyisru") else "pointwise"
    chosen = {} if method == name else {"function": name}
    task = tiny.task(norm={"name": method, "channelwise": True, **chosen})
    slopes = {p for n, p in task.model.named_parameters() if n.endswith(".alpha")}
    groups = {id(p): g for g in task.optimizer.param_groups for p in g["params"]}
    assert len(slopes) == 5 and all(groups[id(p)]["weight_decay"] == 0.0 for p in slopes)
    roles = {p: g.role for g in task.groups for p in g.parameters}
    assert {roles[p] for p in slopes} == {"vector"}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": math.nan}, {"alpha_attention": -0.5}])
def test_a_slope_that_cannot_be_is_refused(name: str, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a number above 0, got"):
        EVERY[name](**wrong)


def test_wrong_names_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="unknown function 'sign'; valid: arctan, hardtanh, arcsinh_clip"):
        PointwiseFunction(function="sign")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="DyT: unknown site 'embedding'; valid: attention, feed_forward, final"):
        DyT().build(8, "embedding")  # type: ignore[arg-type]
    assert isinstance(PointwiseFunction(), PointwiseNorm)

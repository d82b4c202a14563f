"""Point-wise stand-ins for normalisation: what they are exactly, what they solve, their limits and gradients."""

import math

import pytest
import torch
from scipy import special

from baselines.norms._pointwise import matched_gain
from baselines.norms.derf import Derf
from baselines.norms.dyisru import DyISRU, isru
from baselines.norms.dyt import DyT
from baselines.norms.identity import Identity
from tests.workloads import tiny

ALL = [DyT, Derf, DyISRU]
D = 64


def built(norm, width=D, site="final"):
    return norm.build(width, site).double()


@pytest.mark.parametrize("seed", range(3))
def test_one_component_of_rmsnorm_is_a_dyisru(seed):
    """The others held fixed: alpha = 1 / sqrt of their sum of squares, gain sqrt(d)."""
    x = torch.randn(D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    others = float(x[1:].square().sum())
    module = built(DyISRU(alpha=others**-0.5, gain="sqrt"))
    module.alpha.data = torch.tensor([others**-0.5], dtype=torch.float64)
    module.weight.data.fill_(math.sqrt(D))
    for first in torch.linspace(-30, 30, 41, dtype=torch.float64):
        whole = torch.cat([first[None], x[1:]])
        expected = whole / whole.square().mean().sqrt()
        assert abs(module(first.expand(D))[0] - expected[0]) < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_one_component_of_layernorm_is_its_shifted_form(seed):
    """Measured from the mean of the others: sqrt(d - 1) u / sqrt(u^2 + V d / (d - 1)), V their sum of squares."""
    x = torch.randn(D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    centre = x[1:].mean()
    V = float((x[1:] - centre).square().sum())
    alpha = (V * D / (D - 1)) ** -0.5
    for first in torch.linspace(-30, 30, 41, dtype=torch.float64):
        whole = torch.cat([first[None], x[1:]])
        expected = torch.nn.functional.layer_norm(whole, (D,), eps=0.0)[0]
        found = math.sqrt(D - 1) * isru(alpha * (first - centre))
        assert abs(found - expected) < 1e-12


def test_each_solves_its_own_differential_equation_and_not_the_others():
    x = torch.linspace(0.5, 6.0, 40, dtype=torch.float64, requires_grad=True)
    rho, d = 1.7, 32.0
    forms = {"tanh": math.sqrt(d) * torch.tanh(x / (rho * math.sqrt(d))), "isru": math.sqrt(d) * isru(x / 3.0)}
    equations = {"tanh": lambda y: (1 - y**2 / d) / rho, "isru": lambda y: y / x * (1 - y**2 / d)}
    for form, y in forms.items():
        (slope,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
        for name, right in equations.items():
            residual = (slope - right(y)).abs().max()
            assert (residual < 1e-7) == (form == name), (form, name, residual)
            assert form == name or residual > 1e-2


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0])
def test_matched_gains_are_the_closed_forms(alpha):
    """E erf(az)^2 = 2/pi asin(2a^2 / (1 + 2a^2)); E z^2 / (z^2 + c) = 1 - sqrt(pi c/2) e^(c/2) erfc(sqrt(c/2))."""
    of_erf = 2 / math.pi * math.asin(2 * alpha**2 / (1 + 2 * alpha**2))
    assert matched_gain(torch.erf, alpha) == pytest.approx(of_erf**-0.5, rel=1e-9)
    c = alpha**-2
    of_isru = 1 - math.sqrt(math.pi * c / 2) * special.erfcx(math.sqrt(c / 2))
    assert matched_gain(isru, alpha) == pytest.approx(of_isru**-0.5, rel=1e-9)


@pytest.mark.parametrize(("alpha", "rms"), [(0.5, 1 / 2.4), (1.0, 1 / 1.59)])
def test_the_gain_that_undoes_alphas_scale_is_the_prototypes(alpha, rms):
    """Alpha .5 at gain 1 starts a branch at .42 of a normalisation's scale: the two are confounded."""
    assert 1 / matched_gain(torch.tanh, alpha) == pytest.approx(rms, rel=2e-3)


@pytest.mark.parametrize("cls", ALL)
def test_a_matched_gain_gives_unit_rms_on_unit_normals(cls):
    z = torch.randn(4000, D, generator=torch.Generator().manual_seed(0))
    for site, alpha in (("final", 0.5), ("attention", 1.3)):
        module = cls(gain="matched", alpha_attention=1.3).build(D, site)
        assert module.alpha.item() == pytest.approx(alpha)
        assert module(z).square().mean().sqrt().item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("cls", ALL)
def test_limits_of_alpha(cls):
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None].expand(13, D)
    slope = {DyT: 1.0, Derf: 2 / math.sqrt(math.pi), DyISRU: 1.0}[cls]
    small, large = built(cls(alpha=1e-5)), built(cls(alpha=1e7))
    assert torch.allclose(small(x) / 1e-5, slope * x, rtol=1e-4)
    assert torch.allclose(large(x), x.sign(), atol=1e-9)


@pytest.mark.parametrize("channelwise", [False, True])
@pytest.mark.parametrize("cls", ALL)
def test_gradients_of_every_vector(cls, channelwise):
    norm = cls(channelwise=channelwise, bias=True, shift=True)
    module = built(norm, 5)
    assert module.alpha.shape == ((5,) if channelwise else (1,))
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    names = list(dict(module.named_parameters()))
    assert set(names) == {"alpha", "weight", "bias", "shift"}

    def applied(x, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    values = [(p.detach() + 0.1).requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(applied, (x, *values))


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": -1.0}, {"alpha_attention": 0.0}, {"alpha": math.inf}])
def test_a_slope_that_cannot_be_is_refused(cls, wrong):
    with pytest.raises(ValueError, match=f"{cls.__name__}: {next(iter(wrong))} must be a number above 0"):
        cls(**wrong)


def test_the_embeddings_scalar_is_asked_for():
    assert DyT().embedding_scale(64) is None and DyT(embedding_scalar=True).embedding_scale(64) == 8.0


def test_identity_is_a_gain_and_nothing_else():
    x = torch.randn(3, D)
    module = Identity().build(D, "final")
    assert torch.equal(module(x), x) and [tuple(p.shape) for p in module.parameters()] == [(D,)]


@pytest.mark.parametrize(
    "norm",
    [*({"name": n} for n in ("dyt", "derf", "dyisru", "identity")), {"name": "dyt", "gain": "matched"}],
    ids=str,
)
def test_a_language_model_trains_with_it(norm):
    task = tiny.task(norm=norm, model={"zero_readout": True})
    before = {n: p.detach().clone() for n, p in task.model.named_parameters()}
    losses = []
    for step in range(8):
        loss = task.loss(task.batch(step, 0))
        loss.backward()
        task.optimizer.step()
        task.optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(256), rel=1e-4) and losses[-1] < losses[0] - 0.1
    moved = {n for n, p in task.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == set(before), "every vector learns"

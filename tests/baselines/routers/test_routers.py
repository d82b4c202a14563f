"""Every router against what its formulas give by hand, independent loops, and its signs."""

import math

import numpy as np
import pytest
import torch

from baselines.routers._histogram import histogram, quantile
from baselines.routers._scores import calibrated
from baselines.routers.auxiliary_loss import AuxiliaryLoss
from baselines.routers.bias_threshold import BiasThreshold
from baselines.routers.loss_free import LossFree
from baselines.routers.quantile import Quantile
from baselines.routers.quantile_threshold import QuantileThreshold
from baselines.routers.relu import Relu
from baselines.routers.top_k import TopK
from baselines.routers.top_p import TopP
from harness.errors import HarnessError

E, K = 8, 2.0


def logits(seed=0, B=4, T=64, spread=0.5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, T, E, generator=generator) + spread * torch.randn(E, generator=generator)


def routed(router, state=None, x=None, active=K):
    x = logits() if x is None else x
    return router.route(x, router.init(E, active, 1.0) if state is None else state, active)


def settled(router, steps=300, active=K, tokens=2048):
    """State after these steps on fresh batches of one static router."""
    state = router.init(E, active, 1.0)
    generator = torch.Generator().manual_seed(5)
    offset = 0.5 * torch.randn(E, generator=generator)
    for _ in range(steps):
        x = torch.randn(1, tokens, E, generator=generator) + offset
        state = router.update(state, router.route(x, state, active).sums, tokens, active)
    return state, torch.randn(1, 8 * tokens, E, generator=generator) + offset


# --- choices -----------------------------------------------------------------------------------------------


def test_top_k_takes_the_largest_scores():
    x = logits()
    found = routed(TopK(), x=x)
    for token, chosen in zip(x.flatten(0, 1), found.chosen_NE, strict=True):
        assert set(token.topk(2).indices.tolist()) == set(chosen.nonzero().flatten().tolist())
    assert torch.equal(found.gates_NE, x.flatten(0, 1).sigmoid())


def test_normalised_gates_sum_to_one_over_the_chosen():
    found = routed(TopK(gates="normalised", score="softmax"))
    assert torch.allclose((found.gates_NE * found.chosen_NE).sum(1), torch.ones(256))
    with pytest.raises(HarnessError, match="'normalised' are 1 whatever"):
        TopK(gates="normalised").init(E, 1, 1.0)


@pytest.mark.parametrize("router", [LossFree(), Quantile(), BiasThreshold(), QuantileThreshold()])
def test_a_bias_enters_the_choice_and_never_a_gate(router):
    state = router.init(E, K, 1.0)
    moved = {"bias": state["bias"] + torch.linspace(-0.3, 0.3, E)}
    a, b = routed(router, state), routed(router, moved)
    assert torch.equal(a.gates_NE, b.gates_NE)
    assert not torch.equal(a.chosen_NE, b.chosen_NE)


@pytest.mark.parametrize(("router", "fixed"), [(LossFree(), True), (Quantile(), True), (BiasThreshold(), False)])
def test_a_constant_added_to_the_bias_moves_thresholds_alone(router, fixed):
    state = router.init(E, K, 1.0)
    a, b = routed(router, state), routed(router, {"bias": state["bias"] + 0.125})
    assert torch.equal(a.chosen_NE, b.chosen_NE) == fixed
    assert (b.chosen_NE.sum() > a.chosen_NE.sum()) == (not fixed)


def test_top_p_takes_the_fewest_that_reach_p():
    x = logits()
    found = routed(TopP(), {"p": torch.tensor(0.6)}, x)
    for share, chosen in zip(x.flatten(0, 1).softmax(-1), found.chosen_NE, strict=True):
        order = share.argsort(descending=True)
        need = int((share[order].cumsum(0) < 0.6).sum()) + 1
        assert set(order[:need].tolist()) == set(chosen.nonzero().flatten().tolist())
    assert routed(TopP(), {"p": torch.tensor(0.0)}, x).chosen_NE.sum(1).eq(1).all(), "at least one"


def test_relu_gates_with_the_logit_itself():
    x = logits()
    found = routed(Relu(), x=x)
    assert torch.equal(found.chosen_NE, x.flatten(0, 1) > 0) and torch.equal(found.gates_NE, x.flatten(0, 1).relu())


def test_at_least_one_gives_a_token_without_any_its_best():
    state = {"bias": torch.full((E,), -0.9)}
    none, some = (routed(BiasThreshold(at_least=n), state).chosen_NE for n in (0, 1))
    empty = ~none.any(1)
    assert empty.any() and some.any(1).all()
    assert torch.equal(some[~empty], none[~empty]) and some[empty].sum(1).eq(1).all()
    best = logits().flatten(0, 1).argmax(1)
    assert torch.equal(some[empty].float().argmax(1), best[empty])


# --- golden values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "active", "width", "sigma", "start"),
    [
        (32, 4, 1024, 6e-3, -0.55499),
        (8, 2, 256, 0.02, -0.55375),
        (16, 2, 256, 0.02, -0.59100),
        (64, 8, 512, 0.02, -0.62729),
    ],
)
def test_the_calibrated_start_is_the_posts_closed_form(number, active, width, sigma, start):
    """b0 = -sigmoid(sigma sqrt(d) Phi^-1(1 - k/n)), kexue.fm 10815."""
    state = BiasThreshold().init(number, active, sigma * math.sqrt(width))
    assert state["bias"].tolist() == pytest.approx([start] * number, abs=1e-5)


@pytest.mark.parametrize("router", [BiasThreshold(), QuantileThreshold()])
def test_a_calibrated_start_meets_the_budget_and_zero_runs_all(router):
    x = torch.randn(8, 512, 256, generator=torch.Generator().manual_seed(0))
    found = router.route(x, router.init(256, 8.0, 1.0), 8.0).chosen_NE.sum(1).float().mean()
    assert found == pytest.approx(8.0, rel=0.02)
    zero = type(router)(start="zero")
    assert zero.route(x, zero.init(256, 8.0, 1.0), 8.0).chosen_NE.all()


def test_the_softmax_threshold_is_the_posts_ratio():
    z = torch.special.ndtri(torch.arange(1, 257, dtype=torch.float64) / 257)
    expected = math.exp(torch.special.ndtri(torch.tensor(1 - 8 / 256, dtype=torch.float64))) / z.exp().sum()
    assert calibrated(8.0, 256, 1.0, "softmax") == pytest.approx(float(expected), rel=1e-12)


# --- losses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["batch", "sequence"])
@pytest.mark.parametrize(("number", "active"), [(8, 2), (16, 1), (4, 4)])
def test_a_balanced_auxiliary_loss_is_its_coefficient(scope, number, active):
    """Each token prefers other experts, all alike: F and P are even whatever E, k and scope."""
    base = torch.arange(number).float()
    x = torch.stack([base.roll(n) for n in range(number)]).repeat(3, 2, 1)
    found = AuxiliaryLoss(coefficient=0.01, scope=scope).route(x, {}, float(active))
    assert found.loss.item() == pytest.approx(0.01, rel=1e-6)


def test_the_auxiliary_loss_is_the_formula_and_its_scope_matters():
    x = logits()
    s = x.sigmoid().numpy().astype(np.float64)
    chosen = routed(TopK(), x=x).chosen_NE.view(4, 64, E).numpy()
    P, F = s / s.sum(-1, keepdims=True), chosen / 2
    whole = E * (F.mean((0, 1)) * P.mean((0, 1))).sum()
    each = E * (F.mean(1) * P.mean(1)).sum(-1).mean()
    for scope, value in (("batch", whole), ("sequence", each)):
        assert routed(AuxiliaryLoss(coefficient=1.0, scope=scope), x=x).loss.item() == pytest.approx(
            value, rel=1e-5
        )
    assert abs(whole - each) > 1e-4


def test_the_auxiliary_loss_has_the_gradient_of_the_straight_through_form():
    """grad F.P = grad of 1/2 |P + sg(F - P) - 1/E|^2 up to the constant 1/E sum P, which is 1 (kexue.fm 10735)."""
    x = logits().requires_grad_()
    found = routed(AuxiliaryLoss(coefficient=1.0), x=x)
    (direct,) = torch.autograd.grad(found.loss / E, x)
    s = x.sigmoid()
    P = (s / s.sum(-1, keepdim=True)).flatten(0, 1).mean(0)
    F = found.chosen_NE.float().mean(0) / 2
    (through,) = torch.autograd.grad(0.5 * (P + (F - P).detach() - 1 / E).square().sum(), x)
    assert torch.allclose(direct, through, atol=1e-8, rtol=1e-4)


def test_no_coefficient_is_no_loss_and_the_choice_of_top_k():
    x = logits()
    assert routed(AuxiliaryLoss(coefficient=0.0), x=x).loss is None
    assert torch.equal(routed(AuxiliaryLoss(), x=x).chosen_NE, routed(TopK(), x=x).chosen_NE)


def test_the_relu_loss_follows_the_excess():
    router, x = Relu(), logits()
    state = router.init(E, K, 1.0)
    found = router.route(x, state, K)
    s, number = x.flatten(0, 1).relu(), found.chosen_NE.float().mean(0)
    assert found.loss.item() == pytest.approx(1e-8 * (s * number).sum(1).mean().item() * E / K, rel=1e-5)
    more = router.update(state, {"counts": torch.full((E,), 256)}, 256, K)
    less = router.update(state, {"counts": torch.zeros(E, dtype=torch.int64)}, 256, K)
    assert more["coefficient"].item() == pytest.approx(1.2e-8) and less["coefficient"].item() == pytest.approx(
        1e-8 / 1.2
    )


# --- updates -----------------------------------------------------------------------------------------------


OVER = {"counts": torch.tensor([200, 60, 60, 60, 60, 60, 60, 60])}


@pytest.mark.parametrize(
    "router",
    [
        *(LossFree(rule=rule) for rule in ("sign", "rms", "proportional")),
        *(BiasThreshold(equation=e, norm=n) for e in (7, 9) for n in ("sign", "rms")),
    ],
)
def test_the_bias_of_an_overloaded_expert_falls_and_the_others_rise_against_it(router):
    state = router.init(E, K, 1.0)
    step = router.update(state, OVER, 310, K)["bias"] - state["bias"]
    assert (step[0] < step[1:]).all() and step[0] < 0


def test_loss_free_updates_are_the_formulas():
    F = OVER["counts"].double() / 620 - 1 / E
    zero = {"bias": torch.zeros(E)}
    sign = F.sign() - F.sign().mean()
    for rule, d in (("sign", sign), ("rms", F / F.square().mean().sqrt()), ("proportional", E * F)):
        found = LossFree(rule=rule, rate=0.5).update(zero, OVER, 310, K)["bias"]
        assert torch.allclose(found.double(), -0.5 * d, atol=1e-7), rule


def test_a_balanced_load_moves_nothing_that_matters():
    even = {"counts": torch.full((E,), 64)}
    for rule in ("sign", "rms", "proportional"):
        assert not LossFree(rule=rule).update({"bias": torch.zeros(E)}, even, 256, K)["bias"].any()
    state = BiasThreshold().init(E, K, 1.0)
    assert torch.equal(BiasThreshold().update(state, even, 256, K)["bias"], state["bias"])


@pytest.mark.parametrize(("number", "moves"), [(300, -1), (200, 1)])
def test_equation_seven_moves_all_biases_against_the_excess(number, moves):
    even = {"counts": torch.full((E,), number)}
    state = BiasThreshold(rate=0.1).init(E, K, 1.0)
    step = BiasThreshold(rate=0.1).update(state, even, 1000, K)["bias"] - state["bias"]
    assert torch.allclose(step, torch.full((E,), 0.1 * (moves if number * E != 2000 else 0)), atol=1e-6)
    limit = BiasThreshold(rate=0.1, at_most=True).update(state, even, 1000, K)["bias"] - state["bias"]
    assert torch.allclose(limit, torch.full((E,), min(0.0, 0.1 * moves)), atol=1e-6)


def test_equation_seven_keeps_the_mean_bias_at_the_budget():
    counts = torch.tensor([500, 100, 300, 300, 200, 400, 100, 100])
    state = BiasThreshold().init(E, K, 1.0)
    new = BiasThreshold().update(state, {"counts": counts}, 1000, K)["bias"]
    assert new.mean().item() == pytest.approx(state["bias"].mean().item(), abs=1e-6) and not torch.equal(
        new, state["bias"]
    )


@pytest.mark.parametrize(
    ("router", "violation", "budget"),
    [
        (TopK(), None, 0.0),
        (LossFree(), 0.15, 0.0),
        (LossFree(rule="rms"), 0.15, 0.0),
        (Quantile(), 0.2, 0.0),
        (BiasThreshold(), 0.2, 0.1),
        (BiasThreshold(equation=9), 0.2, 0.1),
        (BiasThreshold(budget="quantile"), 0.2, 0.03),
        (QuantileThreshold(), 0.1, 0.03),
        (TopP(rate=0.01), None, 0.05),
    ],
)
def test_on_a_static_router_load_and_budget_settle(router, violation, budget):
    """Limits are several times what a prototype gave, with counts of one step of 2,048 tokens behind them."""
    state, x = settled(router)
    chosen = router.route(x, state, K).chosen_NE
    load = chosen.sum(0).double()
    spread = (load.max() / load.mean() - 1).item()
    assert (spread < violation) if violation is not None else (spread > 0.3)
    assert chosen.sum(1).float().mean().item() == pytest.approx(K, rel=budget or 1e-9)


def test_a_planted_sign_leaves_the_load_worse_than_without_a_router():
    class Flipped(LossFree):
        def update(self, state, sums, num_tokens, active):
            right = super().update(state, sums, num_tokens, active)["bias"]
            return {"bias": 2 * state["bias"] - right}

    state, x = settled(Flipped(), steps=60)
    load = routed(Flipped(), state, x).chosen_NE.sum(0).double()
    assert load.max() / load.mean() > 3


# --- quantiles ---------------------------------------------------------------------------------------------


def test_a_histograms_quantile_is_the_order_statistic_to_a_bin():
    values = torch.rand(4096, 5, generator=torch.Generator().manual_seed(1)) ** 2
    counts = histogram(values, 0.0, 1.0, 1000)
    assert counts.dtype == torch.int64 and counts.sum(1).eq(4096).all()
    for q in (0.05, 0.5, 0.875):
        exact = values.quantile(q, dim=0)
        assert torch.allclose(quantile(counts, q, 0.0, 1.0).float(), exact, atol=2e-3), q


def test_quantile_balancing_of_one_batch_is_the_dual_by_hand():
    router, x = Quantile(), logits(T=512)
    state = {"bias": 0.1 * torch.randn(E, generator=torch.Generator().manual_seed(3))}
    s = x.sigmoid().flatten(0, 1).double()
    alpha = (s + state["bias"]).sort(1, descending=True).values[:, 2:3]
    by_hand = -(s - alpha).quantile(1 - K / E, dim=0)
    found = router.update(state, router.route(x, state, K).sums, 2048, K)["bias"]
    assert torch.allclose(found.double(), by_hand - by_hand.mean(), atol=5e-3)


def test_a_quantile_threshold_gives_every_expert_its_share_of_the_batch_it_came_from():
    router, x = QuantileThreshold(ema=0.0), logits(T=512)
    new = router.update(router.init(E, K, 1.0), routed(router, x=x).sums, 2048, K)
    share = routed(router, new, x).chosen_NE.float().mean(0)
    assert torch.allclose(share, torch.full((E,), K / E), atol=0.01)


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (AuxiliaryLoss, {"coefficient": -1.0}),
        (LossFree, {"rate": 0.0}),
        (Quantile, {"ema": 1.0}),
        (Quantile, {"bins": 1}),
        (BiasThreshold, {"rate": -1.0}),
        (BiasThreshold, {"equation": 9, "at_most": True}),
        (BiasThreshold, {"at_most": True, "budget": "quantile"}),
        (QuantileThreshold, {"ema": -0.1}),
        (Relu, {"factor": 1.0}),
        (Relu, {"start": 0.0}),
        (TopP, {"rate": 0.0}),
    ],
)
def test_values_that_cannot_be_are_refused(cls, wrong):
    with pytest.raises(ValueError, match=r"give|equation 9"):
        cls(**wrong)


@pytest.mark.parametrize("active", [0.0, 9.0, 1.5])
def test_budgets_that_a_fixed_router_cannot_hold_are_refused(active):
    with pytest.raises(HarnessError, match=r"experts.active .* whole number from 1 to 8"):
        TopK().init(E, active, 1.0)

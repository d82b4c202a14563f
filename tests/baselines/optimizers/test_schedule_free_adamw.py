"""Schedule-Free AdamW beside its three sequences; its average by the direct formula; its two modes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from baselines.optimizers.adamw import AdamW
from baselines.optimizers.schedule_free_adamw import ScheduleFreeAdamW
from harness.errors import HarnessError, PluginError
from harness.methods.construct import build
from harness.methods.modes import evaluating
from harness.methods.optimizer import Optimizer
from harness.methods.parametrization import Scaling
from tests.baselines.optimizers import lockstep
from tests.baselines.optimizers.toys import draw_gradients, make_groups, parameters, values

ROUNDING = 1e-11
"""Float64, 20 steps of element-wise work; x is y freed of (1 - beta1) z, which divides rounding by beta1."""


@pytest.mark.parametrize("keeps_peak", [True, False])
def test_twenty_steps_equal_the_three_sequences_in_float64(keeps_peak):
    method = ScheduleFreeAdamW(
        lr=0.02, weight_decay=0.7, beta1=0.8, beta2=0.9, eps=1e-3, keeps_peak=keeps_peak, decay_vectors=True
    )

    def plain(start: Tensor, role: str) -> lockstep.Step:
        x, z, v = start.clone(), start.clone(), torch.zeros_like(start)
        largest: list[float] = []

        def step(g: Tensor, lr: float) -> Tensor:
            nonlocal x, z, v
            y = 0.2 * z + 0.8 * x
            v = 0.9 * v + 0.1 * g**2
            largest.append(max([lr, *largest]))
            rate = largest[-1] if keeps_peak else lr
            corrected = v / (1 - 0.9 ** len(largest))
            z = z - rate * g / (corrected.sqrt() + 1e-3) - rate * 0.7 * y
            c = largest[-1] ** 2 / sum(rate**2 for rate in largest)
            x = (1 - c) * x + c * z
            return 0.2 * z + 0.8 * x

        return step

    found = lockstep.errors(method, plain)
    assert max(found.values()) < ROUNDING, found


def test_what_is_evaluated_is_the_mean_of_the_iterates_weighted_by_squared_rates():
    rates = [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.25]
    groups = lockstep.in_double(make_groups())
    optimizer = ScheduleFreeAdamW(lr=0.1, beta1=0.7).build(groups)
    iterates: list[list[Tensor]] = []
    weights: list[float] = []
    for step, rate in enumerate(rates):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * rate
        draw_gradients(groups, step)
        optimizer.step()
        iterates.append([optimizer.state[p]["z"].clone() for p in parameters(groups)])
        weights.append(max(rates[: step + 1]) ** 2)
        trained = values(groups)
        optimizer.eval()
        for index, p in enumerate(parameters(groups)):
            mean = sum(w * z[index] for w, z in zip(weights, iterates, strict=True)) / sum(weights)
            torch.testing.assert_close(p.detach(), mean, rtol=ROUNDING, atol=ROUNDING)
            y = 0.3 * iterates[-1][index] + 0.7 * mean
            torch.testing.assert_close(trained[index], y, rtol=ROUNDING, atol=ROUNDING)
        optimizer.train()
        for p, t in zip(parameters(groups), trained, strict=True):
            torch.testing.assert_close(p.detach(), t, rtol=ROUNDING, atol=ROUNDING)


def test_the_first_step_is_adamws_and_average_and_iterate_are_one():
    ours, theirs = make_groups(), make_groups()
    one = ScheduleFreeAdamW(lr=0.1, weight_decay=0.3).build(ours)
    one.step()
    AdamW(lr=0.1, weight_decay=0.3).build(theirs).step()
    for a, b in zip(parameters(ours), parameters(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(a.detach(), one.state[a]["z"], rtol=1e-5, atol=1e-7)


def test_a_falling_schedule_does_not_slow_it_down_unless_it_is_told_to_follow():
    def train(keeps_peak: bool, falls: bool) -> list[Tensor]:
        groups = make_groups()
        optimizer = ScheduleFreeAdamW(lr=0.01, keeps_peak=keeps_peak).build(groups)
        for step in range(6):
            for group in optimizer.param_groups:
                group["lr"] = 0.01 * (1 - step / 6 if falls else 1)
            draw_gradients(groups, step)
            optimizer.step()
        return values(groups)

    steady = train(True, False)
    for same, other in ((train(True, True), train(False, True)), (train(False, False), train(False, True))):
        assert all(torch.equal(a, b) for a, b in zip(steady, same, strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(steady, other, strict=True))


def test_evaluation_leaves_no_trace_and_switches_that_are_repeated_do_nothing():
    groups = make_groups()
    optimizer = ScheduleFreeAdamW(lr=0.01).build(groups)
    model = nn.ParameterList(parameters(groups))
    for step in range(3):
        draw_gradients(groups, step)
        optimizer.step()
    trained = values(groups)
    with evaluating(model, optimizer):
        averaged = values(groups)
        optimizer.eval()
        assert all(torch.equal(a, b) for a, b in zip(averaged, values(groups), strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(averaged, trained, strict=True))
    optimizer.train()
    assert all(torch.equal(a, b) for a, b in zip(trained, values(groups), strict=True))


def test_a_step_in_evaluation_mode_is_refused():
    groups = make_groups()
    optimizer = ScheduleFreeAdamW(lr=0.01).build(groups)
    optimizer.step()
    optimizer.eval()
    with pytest.raises(HarnessError, match=r"step\(\) in evaluation mode; call train\(\)"):
        optimizer.step()


def test_a_rate_of_zero_at_first_moves_and_averages_nothing():
    groups = make_groups()
    before = values(groups)
    optimizer = ScheduleFreeAdamW(lr=0.01).build(groups)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, values(groups), strict=True))


def test_multipliers_scale_lr_weight_decay_and_eps():
    scaling = Scaling(init_std=1.0, lr=0.5, weight_decay=4.0, eps=100.0)
    optimizer = ScheduleFreeAdamW(lr=0.02, weight_decay=0.1, eps=1e-8).build(make_groups(scaling=scaling))
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.01)
        assert group["weight_decay"] == (0.0 if group["role"] == "vector" else 0.4)
        assert group["eps"] == pytest.approx(1e-6)


def test_it_is_registered_and_counts_its_flops():
    method = build("optimizer", {"name": "schedule_free_adamw", "lr": 0.01})
    assert isinstance(method, ScheduleFreeAdamW) and isinstance(method, Optimizer)
    assert {method.family(role) for role in ("embedding", "hidden", "readout", "vector")} == {"adam"}
    assert method.flops_per_step([("hidden", (3, 4, 5)), ("vector", (7,))]) == 17 * 67


@pytest.mark.parametrize(("field", "value"), [("lr", 0.0), ("beta1", 0.0), ("beta2", 1.0), ("eps", 0.0)])
def test_bad_values_are_named(field, value):
    with pytest.raises(PluginError, match=rf"'schedule_free_adamw', key '{field}'"):
        build("optimizer", {"name": "schedule_free_adamw", "lr": 0.1, field: value})

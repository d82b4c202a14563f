import math
import random

import pytest

from harness.errors import SuiteError
from harness.planning.suite import Range, Tuning
from harness.planning.tuning import key_of, study

PATH = "optimizer.lr"


def parabola(best, diverges_above=math.inf):
    def value(point):
        x = math.log2(point[PATH])
        return math.inf if x > diverges_above else 2.0 + 0.05 * (x - best) ** 2

    return value


def drive(tuning, space, value, order=None):
    """Run a study to its end; pending points are observed in any order."""
    known = {}
    for _ in range(100):
        state = study(tuning, space, lambda p: known.get(key_of(p)), "here")
        if not state.pending:
            return state, known
        pending = list(state.pending)
        if order:
            order.shuffle(pending)
        # Observing them one by one mimics workers that finish at different times.
        for point in pending[: 1 if order else None]:
            known[key_of(point)] = value(point)
    raise AssertionError("no end")


def tuning(**changes):
    return Tuning.model_validate({"space": {}, "budget": 8, "noise_sd": 0.001, **changes})


def test_interior_optimum_is_fitted_between_grid_points():
    state, known = drive(tuning(), {PATH: Range(log2=(-9, -5))}, parabola(-7.3))
    assert len(known) == 5
    assert math.log2(state.chosen.point[PATH]) == pytest.approx(-7.3, abs=0.02)
    assert not state.chosen.at_edge
    assert state.chosen.best_run[PATH] == 2.0**-7


def test_edge_optimum_extends_the_range_until_interior():
    state, known = drive(tuning(), {PATH: Range(log2=(-9, -5))}, parabola(-3.4))
    assert sorted(math.log2(p[PATH]) for p in state.asked) == [-9, -8, -7, -6, -5, -4, -3, -2]
    assert not state.chosen.at_edge
    assert len(known) == 8


def test_budget_ends_closure_and_the_edge_is_reported():
    state, known = drive(tuning(budget=6), {PATH: Range(log2=(-9, -5))}, parabola(-1.0))
    assert len(known) == 6
    assert state.chosen.at_edge


def test_divergence_is_worst_and_never_chosen():
    state, _ = drive(tuning(), {PATH: Range(log2=(-9, -5))}, parabola(-5.5, diverges_above=-6.5))
    assert math.log2(state.chosen.point[PATH]) <= -6.5


def test_all_diverged_chooses_nothing():
    state, _ = drive(tuning(), {PATH: Range(log2=(-9, -5))}, lambda p: math.inf)
    assert state.chosen is None
    assert "diverged" in state.failed


def test_grid_larger_than_budget_is_refused_with_the_cure():
    with pytest.raises(
        SuiteError, match=r"grid has 9 points, the budget pays for 8.*raise tuning.budget to 9"
    ):
        study(tuning(), {PATH: Range(log2=(-9, -1))}, lambda p: None, "here")


def test_refinement_spends_the_rest_of_the_budget_on_half_steps():
    state, _ = drive(tuning(refine=True), {PATH: Range(log2=(-9, -5))}, parabola(-7.2))
    assert {-7.5, -6.5} <= {math.log2(p[PATH]) for p in state.asked}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_optuna_study_is_the_same_for_any_order_of_finishing(sampler):
    t = tuning(budget=12, round_size=3, sampler={"name": sampler})
    space = {PATH: Range(log2=(-10, -2)), "optimizer.weight_decay": Range(log2=(-6, 0))}

    def value(p):
        return parabola(-6.0)(p) + 0.01 * math.log2(p["optimizer.weight_decay"]) ** 2

    first, _ = drive(t, space, value)
    for seed in range(3):
        again, _ = drive(t, space, value, order=random.Random(seed))
        assert again.asked == first.asked
        assert again.chosen == first.chosen
    assert len({key_of(p) for p in first.asked}) == 12


def test_optuna_seed_differs_between_cells():
    t = tuning(budget=4, sampler={"name": "random"})
    space = {PATH: Range(log2=(-10, -2))}
    a = study(t, space, lambda p: None, "arm a")
    b = study(t, space, lambda p: None, "arm b")
    assert a.pending != b.pending


def test_wrong_sampler_argument_names_it():
    t = tuning(sampler={"name": "tpe", "arguments": {"startups": 3}})
    with pytest.raises(SuiteError, match="startups"):
        study(t, {PATH: Range(log2=(-10, -2))}, lambda p: None, "here")

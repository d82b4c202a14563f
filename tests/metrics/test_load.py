"""Load statistics in closed form, and the floor against simulation."""

import numpy as np
import pytest

from harness.metrics import load


def test_balanced_and_extreme_loads():
    even, one = [5, 5, 5, 5], [20, 0, 0, 0]
    for values, violation, cv, entropy, starved in ((even, 0.0, 0.0, 1.0, 0.0), (one, 3.0, 3**0.5, 0.0, 0.75)):
        assert load.max_violation(values) == pytest.approx(violation)
        assert load.load_cv(values) == pytest.approx(cv)
        assert load.load_entropy(values) == pytest.approx(entropy)
        assert load.starved_share(values) == pytest.approx(starved)
    assert np.isnan(load.max_violation([0, 0])) and np.isnan(load.load_entropy([0, 0]))


def test_leading_axes_are_the_callers():
    counts = np.array([[[1, 3], [2, 2]], [[0, 4], [4, 0]]])
    assert load.max_violation(counts).tolist() == [[0.5, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(("count", "value"), [(8, 1.4236), (16, 1.7660), (32, 2.0697), (64, 2.3437)])
def test_the_expected_largest_of_unit_normals(count, value):
    assert load.expected_largest_normal(count) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(("experts", "active", "tokens", "value"), [(16, 2, 2048, 0.107), (8, 2, 2048, 0.058)])
def test_the_floor_is_what_a_fair_draw_of_experts_shows(experts, active, tokens, value):
    floor = load.sampling_floor(experts, active, tokens)
    assert floor == pytest.approx(value, abs=2e-3)
    generator = np.random.default_rng(0)
    seen = []
    for _ in range(60):
        keys = generator.random((tokens, experts)).argpartition(active, axis=1)[:, :active]
        seen.append(load.max_violation(np.bincount(keys.ravel(), minlength=experts)))
    assert np.mean(seen) == pytest.approx(floor, rel=0.12)
    assert load.sampling_floor(4, 4, 100) == 0.0


def test_first_step_below_looks_at_means_of_a_window():
    values = [1.0, 0.4, 1.0, 0.4, 0.4, 0.4]
    assert load.first_step_below(values, 0.5) == 1
    assert load.first_step_below(values, 0.5, window=3) == 3
    assert load.first_step_below(values, 0.1) is None and load.first_step_below([1.0], 2.0, window=2) is None

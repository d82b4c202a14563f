import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis import transfer

GRID = np.arange(-12.0, -3.0)


@given(st.floats(-10.4, -4.6))
def test_the_optimum_of_a_parabola_is_its_vertex(best):
    found = transfer.optimum(GRID, 2 + 0.05 * (GRID - best) ** 2)
    assert found.log2_lr == pytest.approx(best, abs=1e-6)
    assert found.loss == pytest.approx(2, abs=1e-6)


def test_five_points_on_half_octaves_and_three_on_octaves():
    """A wiggle one octave from the minimum moves the half-octave fit and not the octave one."""
    fine = np.arange(-9, -4.9, 0.5)
    y = 2 + 0.05 * (fine + 7) ** 2
    y[np.isclose(fine, -6)] += 0.01
    assert transfer.optimum(fine, y).log2_lr != pytest.approx(-7, abs=1e-3)
    z = 2 + 0.05 * (GRID + 7) ** 2
    z[np.isclose(GRID, -5)] += 0.01
    assert transfer.optimum(GRID, z).log2_lr == pytest.approx(-7)


def test_edge_divergence_and_flatness_give_no_optimum():
    y = 2 + 0.05 * (GRID + 12.4) ** 2
    assert transfer.optimum(GRID, y).log2_lr is None
    assert "low edge" in transfer.optimum(GRID, y).reason
    y = 2 + 0.05 * (GRID + 7) ** 2
    y[6:] = np.inf
    found = transfer.optimum(GRID, y)
    assert found.log2_lr is None
    assert "diverged" in found.reason
    assert found.argmin == -7
    assert transfer.optimum(GRID, np.full(9, np.nan)).reason == "diverged everywhere"


def test_slope_of_one_arm_is_ordinary_least_squares():
    x, y = np.array([5.0, 6, 7, 8]), np.array([-7.0, -8.1, -8.9, -10.2])
    line = transfer.slopes({"sp": (x, y)})["sp"]
    reference = stats.linregress(x, y)
    assert line.slope == pytest.approx(reference.slope)
    assert line.se == pytest.approx(reference.stderr)
    assert line.df == 2


def test_scatter_is_pooled_over_arms():
    x = np.array([5.0, 6, 7, 8])
    a, b = np.array([0.1, -0.1, 0.0, 0.0]), np.array([0.0, 0.15, -0.1, 0.0])
    lines = transfer.slopes({"a": (x, a), "b": (x, b), "short": (x[:2], a[:2])})
    rss = sum(stats.linregress(x, v).stderr ** 2 * 2 * 5 for v in (a, b))
    assert lines["a"].pooled_scatter == pytest.approx(np.sqrt(rss / 4))
    assert set(lines) == {"a", "b"}


def test_arms_that_err_together_have_fewer_degrees_of_freedom():
    x = np.array([5.0, 6, 7, 8, 9, 10])
    rng = np.random.default_rng(0)
    a = rng.standard_normal(6)
    alike = transfer.slopes({"a": (x, a), "b": (x, 1 - a)})["a"]
    assert alike.correlation == pytest.approx(1)
    assert alike.df == pytest.approx(4)  # one arm's worth
    # Residuals at right angles: the pool keeps all of its df.
    basis = np.linalg.qr(np.column_stack([np.ones(6), x, rng.standard_normal((6, 2))]))[0]
    apart = transfer.slopes({"a": (x, basis[:, 2]), "b": (x, basis[:, 3])})["a"]
    assert apart.df == pytest.approx(8)


def test_three_widths_cannot_tell_the_correlation_and_take_the_measured_one():
    x = np.array([5.0, 6, 7])
    line = transfer.slopes({"a": (x, [0.0, 0.1, 0.0]), "b": (x, [0.0, -0.12, 0.0])})["a"]
    assert line.correlation == pytest.approx(transfer.MEASURED_CORRELATION)
    assert line.df == pytest.approx(2 / (1 + 0.64))
    assert transfer.planned_df(3, 2) == pytest.approx(line.df)
    assert transfer.planned_df(4, 1) == 2


def test_an_arm_that_scatters_more_than_its_pool_is_judged_by_its_own_scatter():
    x = np.array([5.0, 6, 7, 8])
    lines = transfer.slopes({"a": (x, [0.2, -0.2, -0.2, 0.2]), "b": (x, [0.1, -0.1, -0.1, 0.1])})
    assert lines["a"].se == pytest.approx(stats.linregress(x, [0.2, -0.2, -0.2, 0.2]).stderr)
    assert lines["b"].se > stats.linregress(x, [0.1, -0.1, -0.1, 0.1]).stderr


def test_an_outlying_arm_leaves_the_pool():
    x = np.array([5.0, 6, 7, 8, 9])
    rng = np.random.default_rng(0)
    quiet = {f"q{i}": (x, 0.05 * rng.standard_normal(5)) for i in range(4)}
    lines = transfer.slopes({**quiet, "wild": (x, 3 * np.array([1.0, -1, 1, -1, 1]))})
    assert lines["wild"].pooled_arms == ("wild",)
    assert "wild" not in lines["q0"].pooled_arms


def test_one_degree_of_freedom_is_no_ground_to_leave_the_pool():
    """Four times the others' scatter, over three widths: chance does as much in one arm of twenty."""
    x = np.array([5.0, 6, 7])
    kink = np.array([1.0, -2, 1]) / np.sqrt(6)
    lines = transfer.slopes({"a": (x, 0.4 * kink), **{f"q{i}": (x, 0.1 * kink) for i in range(4)}})
    assert lines["a"].own_scatter == pytest.approx(4 * lines["q0"].own_scatter)
    assert lines["a"].pooled_arms == ("a", "q0", "q1", "q2", "q3")


def test_losses_between_grid_points_follow_the_parabola():
    losses = np.stack([2 + 0.05 * (GRID + 7.3) ** 2, 3 + 0.02 * (GRID + 6) ** 2])
    assert transfer.at_learning_rate(GRID, losses, -6.6) == pytest.approx([2 + 0.05 * 0.49, 3 + 0.02 * 0.36])
    assert transfer.at_learning_rate(GRID, losses, -8.0) == pytest.approx(losses[:, 4])
    assert transfer.at_learning_rate(GRID, losses, -20) is None

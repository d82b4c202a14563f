import numpy as np
import pytest
from scipy import stats

from harness.analysis.means import (
    LIKE_THESE,
    THESE,
    combine,
    mean_of_sizes,
    over_cells,
    paired,
    unpaired,
    validation_error,
)

RNG = np.random.default_rng(3)


def mean_of_cells(differences):
    """Over a rectangular array of paired differences (..., J, n)."""
    n = differences.shape[-1]
    dfs = np.full(differences.shape[:-1], n - 1.0)
    return combine(differences.mean(-1), differences.var(-1, ddof=1) / n, dfs)


def test_one_cell_is_the_paired_t_test():
    a, b = RNG.normal(0, 1, 5), RNG.normal(0.3, 2, 5)
    value, se, df = mean_of_cells((a - b)[None])
    reference = stats.ttest_rel(a, b)
    assert value / se == pytest.approx(reference.statistic)
    assert df == pytest.approx(4)
    half = stats.t.ppf(0.975, df) * se
    assert (value - half, value + half) == pytest.approx(tuple(reference.confidence_interval()))


def test_unpaired_cell_is_welch():
    a, b = RNG.normal(0, 1, 5), RNG.normal(0.3, 3, 4)
    cell = unpaired("x", a, b)
    reference = stats.ttest_ind(a, b, equal_var=False)
    assert cell.mean / np.sqrt(cell.variance) == pytest.approx(reference.statistic)
    assert cell.df == pytest.approx(reference.df)


def test_two_cells_with_opposite_weights_are_welch_too():
    """Weights 1 and -1 make the sum over cells a difference of two independent samples."""
    a, b = RNG.normal(0, 1, 6), RNG.normal(0, 4, 3)
    x, y = paired("a", a), paired("b", b)
    value, se, df = combine([x.mean, y.mean], [x.variance, y.variance], [x.df, y.df], [1, -1])
    reference = stats.ttest_ind(a, b, equal_var=False)
    assert value / se == pytest.approx(reference.statistic)
    assert df == pytest.approx(reference.df)


def test_batches_agree_with_single_suites():
    d = RNG.normal(size=(7, 4, 3))
    batch = mean_of_cells(d)
    for i in range(7):
        assert [x[i] for x in batch] == pytest.approx([float(x) for x in mean_of_cells(d[i])])


def test_equal_cells_have_all_degrees_of_freedom():
    d = np.tile([-1.0, 0.0, 1.0], (4, 1))
    assert mean_of_cells(d)[2] == pytest.approx(8)


def test_validation_error_is_added_in_quadrature():
    assert combine([1.0], [0.09], [2], validation_error=0.4)[1] == pytest.approx(0.5)
    assert validation_error([1.0, 3.0, 1.0, 3.0]) == pytest.approx(np.std([1, 3, 1, 3], ddof=1) / 2)


def test_across_sizes_is_t_over_cell_means():
    m = RNG.normal(size=6)
    value, se, df = mean_of_sizes(m)
    assert value / se == pytest.approx(stats.ttest_1samp(m, 0).statistic)
    assert df == 5


def cells(*means, sd=0.1):
    return [paired(f"d{i}", m + sd * np.array([-1.0, 0.0, 1.0])) for i, m in enumerate(means)]


def test_from_four_cells_on_a_mean_is_judged_by_its_scatter_over_sizes():
    few, many = over_cells(cells(0.0, 1.0, 2.0)), over_cells(cells(0.0, 1.0, 2.0, 3.0))
    assert not few.general
    assert few.df == pytest.approx(6)
    assert many.general
    assert (many.se, many.df) == pytest.approx((np.std([0, 1, 2, 3], ddof=1) / 2, 3))
    assert many.answers[THESE][1] == pytest.approx(0.1 / np.sqrt(3) / 2)
    assert few.answers[LIKE_THESE][2] == 2


def test_weights_and_a_wish_decide_what_a_mean_speaks_of():
    four = cells(0.0, 1.0, 2.0, 3.0)
    assert not over_cells(four, across_sizes=False).general
    assert over_cells(four[:2], across_sizes=True).general
    assert LIKE_THESE not in over_cells(four, weights=[1, 0, 0, 0]).answers


def test_blocks_weigh_by_their_tokens():
    assert validation_error([1.0, 3.0, 1.0, 3.0], [5, 5, 5, 5]) == pytest.approx(np.std([1, 3, 1, 3], ddof=1) / 2)
    # A block without tokens adds no error of its own.
    assert validation_error([1.0, 3.0, 99.0], [1, 1, 0]) == pytest.approx(np.sqrt(3 / 2 * 2 * 0.25))

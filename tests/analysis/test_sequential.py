import numpy as np
import pytest
from scipy import stats

from harness.analysis import sequential
from harness.errors import ClaimError


def test_the_looks_spend_five_percent():
    assert sum(sequential.LOOKS.values()) == pytest.approx(0.05)
    assert sequential.spent_p(0.010, 3) == pytest.approx(0.05)
    assert sequential.spent_p(0.025, 10) == pytest.approx(0.05)
    assert [sequential.next_look(n) for n in (0, 3, 5, 10)] == [3, 5, 10, None]
    with pytest.raises(ClaimError, match="7 seeds is no look"):
        sequential.spent_p(0.1, 7)


def test_false_positives_over_three_looks_stay_below_five_percent():
    rng = np.random.default_rng(0)
    d = rng.standard_normal((20000, 4, 10))
    found = np.zeros(20000, dtype=bool)
    for n in sequential.LOOKS:
        mean, var = d[..., :n].mean(-1), d[..., :n].var(-1, ddof=1) / n
        se = np.sqrt(var.sum(-1)) / 4
        df = var.sum(-1) ** 2 / (var**2 / (n - 1)).sum(-1)
        p = 2 * stats.t.sf(np.abs(mean.mean(-1) / se), df)
        found |= np.minimum(1, p * 0.05 / sequential.LOOKS[n]) <= 0.05
    assert 0.03 < found.mean() < 0.052


def test_steins_interval_has_the_wanted_width_and_its_coverage():
    rng = np.random.default_rng(1)
    covered, widths = [], []
    for _ in range(2000):
        first = rng.standard_normal(6)
        plan = sequential.stein(float(first.std(ddof=1)), 5, 0.8, first=6)
        d = np.concatenate([first, rng.standard_normal(plan.pairs - 6)])
        low, high = plan.interval(float(d.mean()), plan.pairs)
        covered.append(low <= 0 <= high)
        widths.append(high - low)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
    assert max(widths) <= 1.6 + 1e-9


def test_stein_by_hand():
    assert sequential.stein(0.033, 8, 0.02, first=12).pairs == int(
        np.ceil((stats.t.ppf(0.975, 8) * 0.033 / 0.02) ** 2)
    )
    with pytest.raises(ClaimError, match="needs sd > 0"):
        sequential.stein(0, 8, 0.02, first=12)

import numpy as np
import pytest
from scipy import stats

from harness.analysis import sequential
from harness.errors import ClaimError


def test_the_looks_spend_five_percent():
    assert sum(sequential.LOOKS.values()) == pytest.approx(0.05)
    assert sequential.spent_p(0.010, 3) == pytest.approx(0.05)
    assert sequential.spent_p(0.025, 10) == pytest.approx(0.05)
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

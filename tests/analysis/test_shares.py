"""Shares of runs."""

import pytest

from harness.analysis.shares import clopper_pearson


def test_clopper_pearson_against_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    for count, total in ((0, 5), (1, 3), (4, 4), (7, 20)):
        assert clopper_pearson(count, total) == pytest.approx(
            proportion_confint(count, total, method="beta"), nan_ok=True
        )

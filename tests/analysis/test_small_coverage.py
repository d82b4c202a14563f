"""The statistics' gates on few simulated suites; `make test-statistics` runs all of them on thousands."""

import numpy as np
import pytest

from tests.calibration import coverage


def allowed(gate, suites):
    """The gate less 3.5 standard errors of the simulation."""
    return gate - 3.5 * np.sqrt(gate * (1 - gate) / suites)


def test_the_default_ratio_covers_under_every_misfit():
    rows = list(coverage.ratio_rows(600, np.random.default_rng(1), sizes=(6,), seeds=(3,), other_forms=100))
    assert {r["scenario"] for r in rows} == set(coverage.SCENARIOS)
    for row in rows:
        gate = 0.91 if row["scenario"] == "skew" else 0.93
        assert row["coverage"] >= allowed(gate, row["suites"]), row
        assert row["no_answer"] < 0.02


def test_means_cover_where_percentile_intervals_cannot():
    rng = np.random.default_rng(2)
    for row in coverage.mean_rows(2000, rng, sizes=(4,), seeds=(3,)):
        assert row["coverage"] >= allowed(0.91 if row["scenario"] == "skew" else 0.93, 2000), row
    # The interval replaced: [min, max] of three seeds, whatever the number of draws.
    d = rng.standard_normal((4000, 3))
    assert ((d.min(1) < 0) & (d.max(1) > 0)).mean() == pytest.approx(0.75, abs=0.03)


def test_a_mean_speaks_of_sizes_only_by_its_scatter_over_sizes():
    rows = list(coverage.general_rows(2000, np.random.default_rng(6)))
    for row in rows:
        if row["rule"].endswith("t over cell means"):
            assert row["coverage"] >= allowed(0.93, 2000), row
    assert min(r["coverage"] for r in rows if r["rule"].endswith("Welch over seeds")) < 0.85


def test_shares_cover_and_stay_between_0_and_1():
    for row in coverage.share_rows(150, np.random.default_rng(7)):
        assert row["coverage"] >= allowed(0.93, 150), row
        assert row["outside"] == 0


def test_slopes_of_correlated_arms_cover():
    for row in coverage.slope_rows(60, np.random.default_rng(8)):
        if "correlated" in row["scenario"] and "pooled" in row["rule"]:
            assert row["coverage"] >= allowed(0.93, 60), row


def test_drift_covers_zero_where_the_laws_have_a_floor():
    for row in coverage.drift_rows(60, np.random.default_rng(3)):
        assert row["coverage"] >= allowed(0.93, 60), row


def test_family_wise_error_is_below_five_percent():
    rows = {r["rule"]: r["false_verdicts"] for r in coverage.family_rows(3000, np.random.default_rng(4))}
    assert rows["family-wise, Holm"] <= 0.057
    assert rows["family-wise, plain 5 %"] > 0.1


def test_two_names_of_one_method_get_no_verdict():
    (row,) = coverage.aa_rows(12, np.random.default_rng(5))
    assert row["false_verdicts"] <= 1 / 12
    assert row["no_answer"] == 0

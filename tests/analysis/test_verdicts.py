import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from harness.analysis import verdicts
from harness.analysis.estimate import Estimate, Part
from harness.analysis.verdicts import Region


def estimate(*parts, scale="linear"):
    return Estimate(parts=tuple(Part(value=v, se=s, df=d) for v, s, d in parts), unit="nats", scale=scale)


def test_a_half_line_is_the_one_sided_t_test():
    x = np.random.default_rng(0).normal(-0.5, 1, 7)
    e = estimate((x.mean(), x.std(ddof=1) / np.sqrt(7), 6))
    hold, fail = verdicts.p_values(e, Region(below=0))
    assert hold == pytest.approx(stats.ttest_1samp(x, 0, alternative="less").pvalue)
    assert fail == pytest.approx(1 - hold)
    assert verdicts.p_values(e, Region(above=0)) == pytest.approx((fail, hold))


def test_a_band_is_two_one_sided_tests():
    x = np.random.default_rng(1).normal(0.1, 1, 30)
    e = estimate((x.mean(), x.std(ddof=1) / np.sqrt(30), 29))
    hold, fail = verdicts.p_values(e, Region(within=(-0.6, 0.6)))
    assert hold == pytest.approx(DescrStatsW(x).ttost_mean(-0.6, 0.6)[0])
    assert fail > 0.5
    # The plain picture: 95 % interval inside the band when each side is below 2.5 %.
    inside = all(abs(v) < 0.6 for v in DescrStatsW(x).tconfint_mean())
    assert inside == (hold < 0.025)


def test_far_outside_a_band_fails():
    hold, fail = verdicts.p_values(estimate((1.0, 0.1, 20)), Region(within=(-0.1, 0.1)))
    assert fail < 1e-6 < hold


def test_ratios_are_judged_as_logarithms():
    e = estimate((np.log(0.8), 0.1, 5), scale="log")
    assert verdicts.p_values(e, Region(below=1))[0] == pytest.approx(stats.t.cdf(np.log(0.8) / 0.1, 5))
    with pytest.raises(ValueError, match="positive bounds"):
        verdicts.p_values(e, Region(below=-1))


def test_for_all_every_part_must_hold_and_the_worst_is_corrected_to_fail():
    good, bad = (-1.0, 0.1, 10), (1.0, 0.5, 10)
    region = Region(all=Region(below=0))
    hold, fail = verdicts.p_values(estimate(good, good, bad), region)
    assert hold == pytest.approx(stats.t.cdf(2, 10))
    assert fail == pytest.approx(3 * stats.t.sf(2, 10))
    with pytest.raises(ValueError, match="2 parts"):
        verdicts.p_values(estimate(good, bad), Region(below=0))


def test_an_identity_is_inside_or_outside():
    e = estimate((1.0, 0.0, np.inf))
    assert verdicts.p_values(e, Region(below=1)) == (0, 1)
    assert verdicts.p_values(e, Region(below=0.99)) == (1, 0)


def test_sign_flip_is_exact():
    d = np.random.default_rng(2).normal(0.4, 1, 8)
    reference = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert verdicts.sign_flip_p(d) == pytest.approx(reference.pvalue)
    assert verdicts.sign_flip_p(np.ones(6)) == 2.0**-6  # two-sided .031, the least that six pairs can show


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_against_statsmodels(ps):
    assert verdicts.holm(ps) == pytest.approx(multipletests(ps, method="holm")[1].tolist())


def test_holm_by_hand():
    assert verdicts.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert verdicts.holm([]) == []


@pytest.mark.parametrize(
    ("p", "hold", "fail", "expected"),
    [
        (0.04, 0.02, 0.98, "holds"),
        (0.04, 0.98, 0.02, "fails"),
        (0.06, 0.03, 0.97, "unresolved"),
    ],
)
def test_resolutions(p, hold, fail, expected):
    assert verdicts.resolve(p, hold, fail) == expected


@pytest.mark.parametrize(
    ("df", "k", "margin"), [(2, 5.7, 6.2), (4, 3.8, 4.3), (8, 3.2, 3.7), (16, 3.0, 3.5), (36, 2.9, 3.3)]
)
def test_factors_of_detectable_effects(df, k, margin):
    assert verdicts.detectable_factor(df) == pytest.approx(k, abs=0.06)
    assert verdicts.equivalence_factor(df) == pytest.approx(margin, abs=0.06)


def test_the_detectable_effect_has_80_percent_power():
    rng = np.random.default_rng(0)
    k = verdicts.detectable_factor(4)
    x = rng.normal(k / np.sqrt(5), 1, (20000, 5))
    found = np.abs(x.mean(1) / (x.std(1, ddof=1) / np.sqrt(5))) > stats.t.ppf(0.975, 4)
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_the_smallest_margin_has_80_percent_power():
    rng = np.random.default_rng(0)
    margin = verdicts.equivalence_factor(16) / np.sqrt(17)
    x = rng.normal(0, 1, (20000, 17))
    half = stats.t.ppf(0.975, 16) * x.std(1, ddof=1) / np.sqrt(17)
    assert (np.abs(x.mean(1)) + half < margin).mean() == pytest.approx(0.8, abs=0.02)


def test_range_of_the_sd():
    assert verdicts.sd_range(2) == pytest.approx((0.52, 6.3), rel=0.01)
    assert verdicts.sd_range(8) == pytest.approx((0.68, 1.9), rel=0.01)


def test_detectable_effects_are_refused_below_four_degrees_of_freedom():
    assert verdicts.detectable(0.1, 3.9, Region(below=0), "linear", "nats") is None
    seen = verdicts.detectable(0.1, 5, Region(below=1), "log", "ratio")
    assert "a ratio below" in seen.text
    assert verdicts.detectable(0.1, 5, Region(below=0), "linear", "nats", tests=5).effect > seen.effect


@pytest.mark.parametrize(
    "fields", [{}, {"below": 1, "above": 0}, {"within": (1, 0)}, {"all": {"all": {"below": 1}}}]
)
def test_a_region_is_one_thing(fields):
    with pytest.raises(ValidationError):
        Region.model_validate(fields)

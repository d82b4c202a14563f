import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from harness.analysis import compute_ratio as law

X = np.linspace(0, 1.7 * np.log(10), 6)


def losses(ratio, floor=0.9, scale=1.64, g=0.174, g_arm=None, x=X):
    c = np.exp(x)
    return np.stack([floor + scale * (c / ratio) ** -(g_arm or g), floor + scale * c**-g])


@given(st.floats(0.3, 1.5), st.floats(0.05, 0.4))
def test_all_forms_recover_the_ratio_of_exact_power_laws(ratio, g):
    y, x = losses(ratio, floor=0.0, g=g), np.stack([X, X])
    assert law.shared_power_law(x, y) == pytest.approx(np.log(ratio), abs=1e-9)
    assert law.fit_free(x, y) == pytest.approx(np.log(ratio), abs=1e-9)
    assert law.shared_law_with_floor(x, y) == pytest.approx(np.log(ratio), abs=2e-3)


@pytest.mark.parametrize("ratio", [0.52, 0.9, 1.0, 1.3])
def test_the_law_with_a_floor_recovers_floor_exponent_and_ratio(ratio):
    floor, _, g = law.fit_floor(np.stack([X, X]), losses(ratio))
    assert floor == pytest.approx(0.9, abs=0.02)
    assert g == pytest.approx(0.174, rel=0.03)
    assert law.shared_law_with_floor(np.stack([X, X]), losses(ratio)) == pytest.approx(np.log(ratio), abs=2e-3)


def test_the_floor_is_never_negative():
    rng = np.random.default_rng(0)
    y = losses(0.7, floor=0.0)[None] * np.exp(0.02 * rng.standard_normal((50, 2, 6)))
    floor, _, g = law.fit_floor(np.broadcast_to(np.stack([X, X]), y.shape), y)
    assert (floor >= 0).all()
    assert np.isfinite(g).all()


def test_variable_projection_agrees_with_a_general_optimizer():
    from scipy.optimize import least_squares

    rng = np.random.default_rng(1)
    y = losses(0.6) * np.exp(0.01 * rng.standard_normal((2, 6)))
    c = np.stack([X, X]) - X.mean()

    def residual(p):
        fit = p[0] + np.exp(p[1:3])[:, None] * np.exp(-p[3] * c)
        return ((fit - y) / y).ravel()

    best = min(
        (
            least_squares(residual, [e, 0.0, 0.0, g], bounds=([0, -9, -9, 0.01], [2, 9, 9, 2]))
            for e in (0.1, 0.8)
            for g in (0.1, 0.3)
        ),
        key=lambda r: r.cost,
    )
    reference = (best.x[1] - best.x[2]) / best.x[3]
    assert law.shared_law_with_floor(np.stack([X, X]), y) == pytest.approx(reference, abs=2e-3)


def test_optimizer_overhead_counts_as_compute():
    """The same losses at 2 % more FLOPs: the ratio is 2 % worse in every form."""
    y, x = losses(0.7), np.stack([X, X])
    dearer = np.stack([X + np.log(1.02), X])
    for form in law.FORMS.values():
        assert form(dearer, y) - form(x, y) == pytest.approx(np.log(1.02), abs=2e-3)


def test_swapping_the_arms_inverts_the_ratio():
    rng = np.random.default_rng(2)
    y = losses(0.6) * np.exp(0.01 * rng.standard_normal((2, 6)))
    x = np.stack([X, X])
    for form in law.FORMS.values():
        assert form(x, y[::-1]) == pytest.approx(-form(x, y), abs=2e-3)


@pytest.mark.parametrize("form", law.FORMS.values(), ids=law.FORMS)
def test_the_jackknife_by_hand(form):
    rng = np.random.default_rng(4)
    y = losses(0.6) * np.exp(0.01 * rng.standard_normal((2, 6)))
    x = np.stack([X, X])
    theta, se, df = law.jackknife(form, x, y)
    left = np.array([float(form(np.delete(x, s, 1), np.delete(y, s, 1))) for s in range(6)])
    assert theta == pytest.approx(float(form(x, y)))
    assert se == pytest.approx(np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum()))
    assert df == 5


def test_batches_agree_with_single_suites():
    rng = np.random.default_rng(5)
    y = losses(0.6) * np.exp(0.02 * rng.standard_normal((8, 2, 6)))
    x = np.broadcast_to(np.stack([X, X]), y.shape)
    for form in [*law.FORMS.values(), law.drift_per_decade]:
        batch = law.jackknife(form, x, y)
        for i in range(8):
            one = law.jackknife(form, x[i], y[i])
            assert batch[0][i] == pytest.approx(float(one[0]), abs=1e-9)
            assert batch[1][i] == pytest.approx(float(one[1]), abs=1e-9)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_monotone_is_isotonic_regression(values):
    expected = IsotonicRegression(increasing=False).fit_transform(np.arange(len(values)), values)
    assert law.monotone(values) == pytest.approx(expected, abs=1e-9)


def test_no_common_range_and_no_fall_have_no_answer():
    y = losses(1.0)
    assert np.isnan(law.fit_free(np.stack([X, X]), np.stack([y[0] - 2.5 + 3, y[1] + 5])))
    assert np.isnan(law.shared_power_law(np.stack([X, X]), y[:, ::-1]))


def test_constant_ratio_with_a_floor_has_no_drift_and_separate_power_laws_invent_one():
    y, x = losses(0.53), np.stack([X, X])
    assert law.drift_per_decade(x, y) == pytest.approx(0, abs=5e-3)
    # Separate two-parameter laws, as 2502.16982 fits them, evaluated at both ends.
    slope = [np.polyfit(X, np.log(v), 1) for v in y]
    at = [(np.polyval(slope[1], c) - slope[0][1]) / slope[0][0] - c for c in (X[0], X[-1])]
    assert np.exp(at[0]) < 0.49
    assert np.exp(at[1]) > 0.55


def test_drift_is_recovered():
    """g_arm < g_baseline: the advantage shrinks, by ln 10 (g_baseline / g_arm - 1) a decade."""
    y = losses(0.53, g_arm=0.165)
    assert law.drift_per_decade(np.stack([X, X]), y) == pytest.approx(np.log(10) * (0.174 / 0.165 - 1), abs=0.01)


def test_a_margin_in_nats_as_compute():
    """STATISTICS 6: 5 % of compute is .010 nats and 15 % .029 at the exponent and loss of the cpu profile."""
    assert law.as_compute(0.010, g=0.108, loss=1.9) == pytest.approx(0.05, abs=0.002)
    assert law.as_compute(0.029, g=0.108, loss=1.9) == pytest.approx(0.15, abs=0.003)

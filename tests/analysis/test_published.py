import numpy as np
import pytest
from pydantic import ValidationError
from scipy import optimize

from harness.analysis import published
from harness.analysis.published import Published, agreement
from harness.errors import UnknownNameError


def test_every_table_names_its_sources():
    names = {file.stem for file in published.folder().glob("*.csv")}
    assert {
        "moonlight_scaling",
        "moonlight_fits",
        "fantastic_optimizers_losses",
        "loss_free_balancing",
        "dyt",
        "derf",
        "kodak_codecs",
    } <= names
    for name in names:
        assert len(published.read(name)) > 1


def equivalent_tokens(tokens, baseline, arm):
    """Tokens at which the baseline's law L = alpha D^-B + beta, fitted to its points, reaches arm's losses."""
    scale = np.exp(np.log(tokens).mean())

    def law(x, alpha, exponent, beta):
        return alpha * (x / scale) ** -exponent + beta

    span = baseline.max() - baseline.min()
    start = (2 * span, 0.4, baseline.min() - span)
    (alpha, exponent, beta), *_ = optimize.curve_fit(law, tokens, baseline, p0=start, maxfev=20000)
    return scale * ((arm - beta) / alpha) ** (-1 / exponent)


def test_speedups_recomputed_from_the_losses_of_2509_02046():
    losses, expected = (
        published.read("fantastic_optimizers_losses"),
        published.read("fantastic_optimizers_speedups"),
    )
    for size, rows in losses[losses.chinchilla <= 8].groupby("size"):
        adamw, muon = (rows[rows.arm == a] for a in ("adamw", "muon"))
        tokens = adamw.chinchilla.to_numpy(dtype=float)
        speedup = equivalent_tokens(tokens, adamw.loss.to_numpy(), muon.loss.to_numpy()) / tokens
        assert speedup == pytest.approx(expected[expected["size"] == size].speedup.to_numpy(), abs=0.0051)


def test_moonlights_printed_laws_give_a_ratio_that_rises_with_compute():
    """Far from a constant .52: .440 at .25, .490 at 4, .507 at 10 PFLOP/s-days."""
    fits = published.read("moonlight_fits")
    law = {r.arm: (r.coefficient, -r.exponent) for r in fits[fits.law == "loss"].itertuples()}
    for compute, ratio in ((0.25, 0.440), (4, 0.490), (10, 0.507), (1000, 0.606)):
        loss = law["adamw"][0] * compute ** -law["adamw"][1]
        muon = (law["muon"][0] / loss) ** (1 / law["muon"][1])
        assert muon / compute == pytest.approx(ratio, abs=0.001)


def test_moonlights_table_has_20_to_30_tokens_a_parameter():
    table = published.read("moonlight_scaling")
    assert (table.tokens / table.parameters).between(20, 30).all()
    assert np.log10((6 * table.tokens * table.parameters).max() / (6 * table.tokens * table.parameters).min()) > 1


def test_unknown_tables_get_a_hint():
    with pytest.raises(UnknownNameError, match="Did you mean 'dyt'"):
        published.read("dty.csv")


def test_three_outcomes():
    paper = Published(value=0.52, interval=(0.50, 0.54))
    assert agreement(np.log(0.53), 0.03, 30, paper)[0] == "agrees"
    assert agreement(np.log(0.80), 0.03, 30, paper)[0] == "differs"
    assert agreement(np.log(0.53), 0.20, 5, paper)[0] == "cannot tell"


def test_a_wide_interval_that_contains_the_value_is_no_agreement():
    word, (low, high) = agreement(np.log(0.52), 0.5, 5, Published(value=0.52))
    assert low < 0 < high
    assert word == "cannot tell"


def test_published_error_from_rounding_seeds_and_alternatives():
    assert Published(value=0.5, rounding=0.005).se_log() == pytest.approx(0.01 / np.sqrt(3))
    assert Published(value=0.5, seed_sd=0.03).se_log() == pytest.approx(0.03)
    six = Published(value=0.52, alternatives=[0.66, 0.71, 0.77, 0.88, 0.89])
    assert six.se_log() == pytest.approx(0.20, abs=0.005)
    assert Published(value=0.52, interval=(0.50, 0.54)).se_log() == pytest.approx(0.0196, abs=0.0003)


def test_errors_add_in_quadrature_and_only_ours_limits_the_df():
    paper = Published(value=0.5, seed_sd=0.03)
    _, (low, high) = agreement(np.log(0.5), 0.04, 4, paper)
    from scipy import stats

    assert high - low == pytest.approx(2 * 0.05 * stats.t.ppf(0.975, 4 * (0.05 / 0.04) ** 4))


def test_a_value_outside_its_interval_is_an_error():
    with pytest.raises(ValidationError, match="does not contain the value"):
        Published(value=0.52, interval=(0.6, 0.7))

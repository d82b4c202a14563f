"""Shares of seeds where seeds are of two kinds, and interactions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.analysis.verdicts import Region, p_values
from harness.errors import ClaimError
from tests.analysis.records import estimate, trials

SEEDS = 8


def table(**losses: list[float]) -> pd.DataFrame:
    """Arms at one size; arm -> its test losses by seed."""
    out = trials(dict.fromkeys(losses, 1.0), sizes=("d24",), seeds=SEEDS)
    out["test_loss"] = [loss for arm in losses.values() for loss in arm]
    return out


STUCK = [3.2, 2.4, 3.2, 2.4, 2.5, 2.4, 3.2, 2.3]
EVEN = [2.41, 2.42, 2.43, 2.45, 2.4, 2.44, 2.43, 2.42]


def test_a_share_of_seeds_is_binomial_and_blind_to_how_far_apart_the_kinds_are() -> None:
    found = estimate(table(dyt=STUCK, layernorm=EVEN), "share_of_seeds", arm="dyt", baseline="layernorm")
    assert found.parts[0].count == (4.0, 8)
    assert found.interval() == pytest.approx(stats.binomtest(4, 8).proportion_ci(method="exact"))
    assert found.table == [{"cell": "d24", "below": 4, "seeds": 8}]
    far = [x + 100 * (x > 3) for x in STUCK]
    again = estimate(table(dyt=far, layernorm=EVEN), "share_of_seeds", arm="dyt", baseline="layernorm")
    assert again.interval() == found.interval()


@pytest.mark.parametrize(("than", "below"), [(2.9, 5), (1.0, 0), (9.0, 8)])
def test_a_share_of_seeds_below_a_number(than: float, below: int) -> None:
    found = estimate(table(dyt=STUCK), "share_of_seeds", arm="dyt", than=than)
    assert found.parts[0].count == (float(below), 8)
    hold, fail = p_values(found, Region(above=0.5))
    assert hold == pytest.approx(stats.binomtest(below, 8, alternative="greater").pvalue)
    assert fail == pytest.approx(stats.binomtest(below, 8, alternative="less").pvalue)


def test_seeds_that_only_one_arm_has_take_no_part_and_divergence_is_above() -> None:
    rows = table(dyt=STUCK, layernorm=EVEN)
    rows.loc[(rows.arm == "dyt") & (rows.seed == 1), ["status", "test_loss"]] = ["diverged", np.nan]
    rows = rows[~((rows.arm == "layernorm") & (rows.seed == 0))]
    found = estimate(rows, "share_of_seeds", arm="dyt", baseline="layernorm")
    assert found.parts[0].count == (3.0, 7)
    assert any("1 of 8 evaluation trials diverged" in note for note in found.notes)


def curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Validation losses at a quarter, a half and the end: 9 minus the test loss until the half."""
    return pd.DataFrame(
        [
            {"identity": r.identity, "curve": "validation_loss", "step": step, "value": value}
            for r in rows.itertuples() for step, value in ((25, 9 - r.test_loss), (50, 9 - r.test_loss), (100, 0.0))
        ]
    )


def test_a_curves_point_is_the_last_until_the_share_of_training() -> None:
    rows = table(dyt=STUCK, layernorm=EVEN)
    arguments = {"arm": "dyt", "baseline": "layernorm", "curve": "validation_loss"}
    half = estimate(rows, "share_of_seeds", curves=curves(rows), to_step_share=0.6, **arguments)
    assert half.parts[0].count == (4.0, 8), "the others are below here"
    assert estimate(rows, "share_of_seeds", curves=curves(rows), **arguments).parts[0].count == (0.0, 8)
    with pytest.raises(ClaimError, match=r"no point in the first 0\.1 of training"):
        estimate(rows, "share_of_seeds", curves=curves(rows), to_step_share=0.1, **arguments)
    with pytest.raises(ClaimError, match="no curve 'loss' was recorded"):
        estimate(rows, "share_of_seeds", curves=curves(rows), **{**arguments, "curve": "loss"})


def test_a_share_of_seeds_is_below_one_thing() -> None:
    for more in ({}, {"baseline": "layernorm", "than": 2.9}):
        with pytest.raises(ClaimError, match="give either baseline: or than:"):
            estimate(table(dyt=STUCK, layernorm=EVEN), "share_of_seeds", arm="dyt", **more)


def test_an_interaction_is_the_t_interval_of_the_seeds_own_numbers() -> None:
    rng = np.random.default_rng(0)
    a, b, c, d = (list(2 + rng.standard_normal(SEEDS)) for _ in range(4))
    rows = table(derf_muon=a, dyt_muon=b, derf_adamw=c, dyt_adamw=d)
    rows = rows[~((rows.arm == "dyt_adamw") & (rows.seed == 7))]
    found = estimate(
        rows, "difference_of_differences", arm="derf_muon", baseline="dyt_muon", other_arm="derf_adamw",
        other_baseline="dyt_adamw",
    )
    own = (np.array(a) - b - (np.array(c) - d))[:7]
    assert found.parts[0].value == pytest.approx(own.mean())
    assert found.interval() == pytest.approx(stats.ttest_1samp(own, 0).confidence_interval(0.95))
    with pytest.raises(ClaimError, match="no cell has two seeds that"):
        estimate(
            rows[(rows.arm != "dyt_muon") | (rows.seed == 0)], "difference_of_differences", arm="derf_muon",
            baseline="dyt_muon", other_arm="derf_adamw", other_baseline="dyt_adamw",
        )

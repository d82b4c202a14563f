"""Slopes of optima, transfer gaps, wider is better."""

import numpy as np
import pandas as pd
import pytest

from harness.errors import ClaimError
from tests.analysis.records import estimate, sweep


def test_slopes_of_optima_are_recovered_with_pooled_scatter():
    table = sweep({"standard": -1.0, "mup": 0.0})
    for arm, slope in (("standard", -1), ("mup", 0)):
        found = estimate(table, "optimum_slope", arm=arm)
        assert found.parts[0].value == pytest.approx(slope, abs=0.1)
        assert 2 <= found.parts[0].df <= 4  # the two arms' optima err together as far as they correlate
        assert [r["width"] for r in found.table] == [32, 64, 128, 256]
        assert any("standard, mup" in n or "mup, standard" in n for n in found.notes)
    assert estimate(table, "optimum_slope", arm="mup", pool=["mup"]).parts[0].df == 2


def test_another_arms_gaps_do_not_silence_a_slope():
    table = sweep({"standard": -1.0, "mup": 0.0})
    table.loc[(table["arm"] == "standard") & (table["width"] == 64), "validation_loss"] = np.nan
    found = estimate(table, "optimum_slope", arm="mup")
    assert any("pooled over mup;" in n for n in found.notes)
    with pytest.raises(ClaimError, match="is missing in completed trials of 'standard'"):
        estimate(table, "optimum_slope", arm="standard")


def test_a_width_without_an_optimum_is_named():
    table = sweep({"standard": -1.0}, grid=(-8, -1, 1.0))
    with pytest.raises(
        ClaimError, match=r"has an optimum at 2 values of width \(128: best point on the low edge.*256: best"
    ):
        estimate(table, "optimum_slope", arm="standard", pool=["standard"])


def test_divergence_above_the_optimum_is_no_obstacle_but_next_to_it_is():
    table = sweep({"standard": 0.0})
    far = table["optimizer.lr"] >= 2.0**-5
    table.loc[far, ["status", "validation_loss"]] = ["diverged", np.nan]
    assert estimate(table, "optimum_slope", arm="standard").parts[0].value == pytest.approx(0, abs=0.1)
    table.loc[table["optimizer.lr"] >= 2.0**-6, ["status", "validation_loss"]] = ["diverged", np.nan]
    with pytest.raises(ClaimError, match="a neighbour of the best point diverged"):
        estimate(table, "optimum_slope", arm="standard")


def test_transfer_gap_is_curvature_times_the_square_of_the_shift():
    table = sweep({"standard": -1.0, "mup": 0.0}, sd=0.004)
    gap = estimate(table, "transfer_gap", arm="standard")
    assert gap.parts[0].value == pytest.approx(0.045 * 9, abs=0.03)
    assert gap.parts[0].df == 2
    both = estimate(table, "transfer_gap", arm="mup", baseline="standard")
    assert both.parts[0].value == pytest.approx(-0.045 * 9, abs=0.03)
    assert [r["arm"] for r in both.table] == ["mup", "standard"]


def test_transfer_gap_caps_divergence_at_the_trivial_loss():
    table = sweep({"standard": -1.0}, sd=0.004)
    burnt = (table["width"] == 256) & (table["optimizer.lr"] >= 2.0**-7)
    table.loc[burnt, ["status", "validation_loss"]] = ["diverged", np.nan]
    gap = estimate(table, "transfer_gap", arm="standard").parts[0].value
    assert gap > 1


def test_transfer_outside_the_grid_is_refused():
    table = sweep({"standard": -1.0})
    table = table[(table["width"] < 256) | (table["optimizer.lr"] < 2.0**-7)]
    with pytest.raises(ClaimError, match="lies outside the grid of width 256"):
        estimate(table, "transfer_gap", arm="standard")


def test_wider_is_better_has_a_part_for_each_pair():
    found = estimate(sweep({"mup": 0.0}), "wider_is_better", arm="mup")
    assert [p.label for p in found.parts] == ["32 to 64", "64 to 128", "128 to 256"]
    assert all(p.value == pytest.approx(-0.2, abs=0.07) for p in found.parts)


def test_wider_is_better_at_every_checkpoint():
    table = sweep({"mup": 0.0}, sd=0.01)
    rng = np.random.default_rng(0)
    curves = pd.DataFrame(
        [
            {
                "identity": r.identity,
                "arm": r.arm,
                "width": r.width,
                "seed": r.seed,
                "curve": "validation_loss",
                "step": step,
                "value": r.validation_loss
                + 2 / step
                + (0.5 if (step == 10 and r.width == 128) else 0)
                + 0.01 * rng.standard_normal(),
            }
            for r in table.itertuples()
            for step in (10, 20, 40)
        ]
    )
    found = estimate(table, "wider_is_better", arm="mup", curve="validation_loss", curves=curves)
    assert len(found.parts) == 9
    worst = max(found.parts, key=lambda p: p.value)
    assert worst.label == "64 to 128 at step 10"
    late = estimate(
        table, "wider_is_better", arm="mup", curve="validation_loss", curves=curves, from_step_share=0.5
    )
    assert all(p.value < 0 for p in late.parts)
    assert len(late.parts) == 6
    with pytest.raises(ClaimError, match="no curve 'loss'"):
        estimate(table, "wider_is_better", arm="mup", curve="loss", curves=curves)

"""Estimators over sweeps and probes, and identities."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis.comparison import clopper_pearson, noise_table
from harness.analysis.estimate import Evidence, find, names, run
from harness.errors import ClaimError, UnknownNameError
from tests.analysis.records import sweep, trials


def estimate(table, name, probes=None, curves=None, **arguments):
    return run(Evidence(trials=table, probes=probes, curves=curves, claim="c"), {"name": name, **arguments})


def test_every_estimator_has_a_first_line():
    assert {
        "compute_ratio",
        "mean_difference",
        "optimum_slope",
        "transfer_gap",
        "wider_is_better",
        "share_by_seed",
    } <= set(names())
    assert all(names().values())
    with pytest.raises(UnknownNameError, match="Did you mean 'mean_difference'"):
        find("mean_diference")


def test_noise_table_has_sd_correlation_and_sd_of_the_difference():
    table = trials(sizes=("d24",), seeds=5)
    row = noise_table(table, baseline="adamw").set_index("arm").loc["muon"]
    a, b = (table[table.arm == x]["test_loss"].to_numpy() for x in ("muon", "adamw"))
    assert row["n"] == 5
    assert row["sd"] == pytest.approx(a.std(ddof=1))
    assert row["r"] == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert row["sd_difference"] == pytest.approx((a - b).std(ddof=1))
    assert row["sd_unpaired"] == pytest.approx(np.hypot(a.std(ddof=1), b.std(ddof=1)))


def test_clopper_pearson_against_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    for count, total in ((0, 5), (1, 3), (4, 4), (7, 20)):
        assert clopper_pearson(count, total) == pytest.approx(
            proportion_confint(count, total, method="beta"), nan_ok=True
        )


def test_mean_ratio_and_mean_value():
    table = trials(sizes=("d24", "d32"), seeds=4, sd=0.01)
    table["steps"] = np.where(table.arm == "muon", 50.0, 100.0) * np.exp(
        0.1 * np.random.default_rng(0).standard_normal(len(table))
    )
    ratio = estimate(table, "mean_ratio", arm="muon", baseline="adamw", metric="steps")
    assert ratio.log
    assert np.exp(ratio.parts[0].value) == pytest.approx(0.5, rel=0.2)
    mean = estimate(table, "mean_value", arm="muon", metric="steps", relative_to=50)
    assert mean.parts[0].value == pytest.approx(0, abs=0.2)


def test_across_sizes_uses_the_scatter_of_cell_means():
    table = trials(sd=0.001)
    table.loc[(table.arm == "muon") & (table["size"] == "d24"), "test_loss"] += 1
    inside, across = (
        estimate(table, "mean_difference", arm="muon", baseline="adamw", across_sizes=a).parts[0]
        for a in (False, True)
    )
    assert across.value == pytest.approx(inside.value)
    assert across.df == 5
    assert across.se > 50 * inside.se


def test_blocks_of_documents_give_the_validation_error():
    table = trials(sizes=("d24", "d32"), seeds=3, sd=0.001)
    plain = estimate(table, "mean_difference", arm="muon", baseline="adamw").parts[0].se
    rng = np.random.default_rng(0)
    for i in range(16):
        # Blocks differ between arms in the same way for all seeds.
        table[f"test_loss_block_{i}"] = table["test_loss"] + np.where(
            table.arm == "muon", 0.04 * rng.standard_normal(), 0.0
        )
    with_blocks = estimate(table, "mean_difference", arm="muon", baseline="adamw")
    assert with_blocks.parts[0].se == pytest.approx(np.hypot(plain, 0.01), rel=0.4)
    assert any("validation error" in n for n in with_blocks.notes)


def test_weights_change_the_mean_and_must_be_complete():
    table = trials(sizes=("d24", "d64"), seeds=3)
    only = estimate(table, "mean_difference", arm="muon", baseline="adamw", weights={"d24": 1, "d64": 0})
    first = estimate(table, "mean_difference", arm="muon", baseline="adamw", where={"size": "d24"})
    assert only.parts[0].value == pytest.approx(first.parts[0].value)
    assert only.parts[0].df == pytest.approx(2)
    with pytest.raises(ClaimError, match="no weight for cells d64"):
        estimate(table, "mean_difference", arm="muon", baseline="adamw", weights={"d24": 1})


def test_sign_flip_needs_six_pairs():
    from harness.analysis.verdicts import Region, p_values

    six = estimate(
        trials({"adamw": 1, "muon": 0.3}, sizes=("d24", "d32"), sd=0.001),
        "mean_difference",
        arm="muon",
        baseline="adamw",
        test="sign_flip",
    )
    assert 2 * min(p_values(six, Region(below=0))) == 2.0**-5
    with pytest.raises(ClaimError, match="sign-flip test of 3 pairs cannot reach 5 %"):
        estimate(trials(sizes=("d24",)), "mean_difference", arm="muon", baseline="adamw", test="sign_flip")


def test_drift_needs_six_sizes():
    assert estimate(trials(sd=0.001), "ratio_drift", arm="muon", baseline="adamw").parts[0].value == pytest.approx(
        0, abs=0.05
    )
    with pytest.raises(ClaimError, match="at least 6 sizes"):
        estimate(trials(sizes=("a", "b", "c", "d", "e")), "ratio_drift", arm="muon", baseline="adamw")


def test_the_floor_becomes_the_default_where_noise_is_small():
    quiet = estimate(trials(sd=0.001), "compute_ratio", arm="muon", baseline="adamw")
    assert quiet.parts[0].label == "shared_law_with_floor"
    assert (
        estimate(trials(sd=0.03), "compute_ratio", arm="muon", baseline="adamw").parts[0].label
        == "shared_power_law"
    )
    assert quiet.estimators_agree
    with pytest.raises(ClaimError, match="form 'cubic' is not known"):
        estimate(trials(), "compute_ratio", arm="muon", baseline="adamw", form="cubic")


def test_identity_difference_is_the_largest_gap():
    table = trials({"a": 1, "b": 1}, sd=0)
    table.loc[table.index[-1], "test_loss"] += 0.25
    found = estimate(table, "identity_difference", arm="a", baseline="b", metric="test_loss")
    assert found.exact
    assert found.parts[0].value == pytest.approx(0.25)


# --- transfer ------------------------------------------------------------------------------------------------


def test_slopes_of_optima_are_recovered_with_pooled_scatter():
    table = sweep({"standard": -1.0, "mup": 0.0})
    for arm, slope in (("standard", -1), ("mup", 0)):
        found = estimate(table, "optimum_slope", arm=arm)
        assert found.parts[0].value == pytest.approx(slope, abs=0.1)
        assert found.parts[0].df == 4
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


# --- probes --------------------------------------------------------------------------------------------------


def probes(difference=0.05, sd=0.02, matrices=18, seeds=3, steps=(0, 10, 20)):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {
                "identity": f"{arm}-{size}-{seed}",
                "suite": "s",
                "arm": arm,
                "role": "evaluation",
                "seed": seed,
                "size": size,
                "width": width,
                "probe": "spectra",
                "matrix": f"m{m}",
                "kind": "weight",
                "functional": f,
                "step": step,
                "value": 0.8
                + 0.01 * m
                + (difference if arm == "muon" and step else 0)
                + (sd * rng.standard_normal() if step else 0)
                + (width / 100 if f == "stable_rank" else 0),
            }
            for arm in ("adamw", "muon")
            for size, width in (("d24", 24), ("d48", 48), ("d96", 96))
            for seed in range(seeds)
            for m in range(matrices)
            for f in ("entropy", "stable_rank")
            for step in steps
        ]
    )


def test_the_share_is_one_number_a_run():
    table = trials(sizes=("d24", "d48", "d96"))
    found = estimate(
        table, "share_by_seed", probes=probes(), arm="muon", baseline="adamw", where={"functional": "entropy"}
    )
    frame = probes()
    last = frame[(frame.functional == "entropy") & (frame.step == 20)].pivot_table(
        index=["size", "seed", "matrix"], columns="arm", values="value"
    )
    shares = (last.muon > last.adamw).groupby(level=[0, 1]).mean()
    assert found.parts[0].value == pytest.approx(shares.mean())
    assert len(found.table) == 9
    assert found.num_seeds == 3
    assert found.parts[0].df <= 6


def test_shares_that_are_all_one_keep_the_error_of_their_rounding():
    table = trials(sizes=("d24", "d48", "d96"))
    found = estimate(
        table,
        "share_by_seed",
        probes=probes(difference=1.0),
        arm="muon",
        baseline="adamw",
        where={"functional": "entropy"},
        steps="all",
    )
    assert [p.value for p in found.parts] == [1, 1]  # the checkpoint at init is left out
    assert found.parts[0].se == pytest.approx(1 / (18 * np.sqrt(12)) / 3)


def test_probe_difference_by_functional():
    table = trials(sizes=("d24", "d48", "d96"))
    found = estimate(table, "probe_difference", probes=probes(), arm="muon", baseline="adamw", parts="functional")
    assert [p.label for p in found.parts] == ["entropy", "stable_rank"]
    assert all(p.value == pytest.approx(0.05, abs=0.02) for p in found.parts)


def test_probe_slope_over_width():
    table = trials(sizes=("d24", "d48", "d96"))
    frame = probes()
    frame["value"] = frame["width"] ** 0.5 * np.exp(0.05 * np.random.default_rng(0).standard_normal(len(frame)))
    found = estimate(
        table, "probe_slope", probes=frame, arm="muon", where={"functional": "entropy"}, parts=["kind"]
    )
    assert found.parts[0].value == pytest.approx(0.5, abs=0.05)
    assert found.parts[0].df == 1


def test_missing_probes_and_values_are_named():
    table = trials(sizes=("d24", "d48", "d96"))
    with pytest.raises(ClaimError, match="claim 'c': no probes were recorded"):
        estimate(table, "share_by_seed", arm="muon", baseline="adamw")
    with pytest.raises(ClaimError, match="no probe 'rank' was recorded; choose from spectra"):
        estimate(table, "share_by_seed", probes=probes(), probe="rank", arm="muon", baseline="adamw")
    with pytest.raises(ClaimError, match="have no column 'valeu'"):
        estimate(table, "share_by_seed", probes=probes(), value="valeu", arm="muon", baseline="adamw")
    with pytest.raises(ClaimError, match="one common seed"):
        estimate(
            table,
            "share_by_seed",
            probes=probes(seeds=1),
            arm="muon",
            baseline="adamw",
            where={"functional": "entropy"},
        )

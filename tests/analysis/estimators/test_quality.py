"""Means, differences and ratios over cells; identities."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis.lookup import run
from harness.analysis.verdicts import Region, p_values
from harness.errors import ClaimError
from tests.analysis.records import estimate, evidence, sweep, trials


def test_mean_ratio_and_mean_value():
    table = trials(sizes=("d24", "d32"), seeds=4, sd=0.01)
    table["steps"] = np.where(table.arm == "muon", 50.0, 100.0) * np.exp(
        0.1 * np.random.default_rng(0).standard_normal(len(table))
    )
    ratio = estimate(table, "mean_ratio", arm="muon", baseline="adamw", metric="steps")
    assert ratio.scale == "log"
    assert np.exp(ratio.parts[0].value) == pytest.approx(0.5, rel=0.2)
    mean = estimate(table, "mean_value", arm="muon", metric="steps", relative_to=50)
    assert mean.parts[0].value == pytest.approx(0, abs=0.2)


def test_from_four_sizes_on_a_difference_speaks_of_sizes_like_these_and_shows_these_beside():
    table = trials(sd=0.001)
    table.loc[(table.arm == "muon") & (table["size"] == "d24"), "test_loss"] += 1
    judged = estimate(table, "mean_difference", arm="muon", baseline="adamw")
    assert judged.parts[0].df == 5
    these, like_these = judged.forms
    assert (these["form"], these["used"], like_these["form"], like_these["used"]) == (
        "these sizes", False, "sizes like these", True,
    )  # fmt: skip
    assert like_these["high"] - like_these["low"] > 20 * (these["high"] - these["low"])
    inside = estimate(table, "mean_difference", arm="muon", baseline="adamw", across_sizes=False)
    assert inside.interval() == pytest.approx((these["low"], these["high"]))
    assert [f["used"] for f in inside.forms] == [True, False]
    few = estimate(table, "mean_difference", arm="muon", baseline="adamw", where={"size": ["d24", "d28", "d32"]})
    assert [f["used"] for f in few.forms] == [True, False]


def test_weights_speak_of_these_sizes_alone():
    with pytest.raises(ClaimError, match="weights speak of these sizes alone"):
        estimate(
            trials(sizes=("d24", "d64")), "mean_difference", arm="muon", baseline="adamw",
            weights={"d24": 1, "d64": 1}, across_sizes=True,
        )  # fmt: skip
    with pytest.raises(ClaimError, match="one cell says nothing across sizes"):
        estimate(trials(sizes=("d24",)), "mean_difference", arm="muon", baseline="adamw", across_sizes=True)


def blocks(table, shift, count=16):
    """A table of block losses; ``shift``: per block, what arm muon has more than its test loss, in all seeds."""
    return pd.DataFrame(
        [
            {
                "identity": r.identity,
                "arm": r.arm,
                "seed": r.seed,
                "size": r.size,
                "table": "test_loss_blocks",
                "block": i,
                "loss": r.test_loss + (shift[i] if r.arm == "muon" else 0.0),
                "tokens": 1000,
            }
            for r in table.assign(size=table["size"]).itertuples()
            for i in range(count)
        ]
    )


def test_blocks_of_documents_give_the_validation_error():
    table = trials(sizes=("d24", "d32"), seeds=3, sd=0.001)
    plain = estimate(table, "mean_difference", arm="muon", baseline="adamw")
    assert plain.validation_error is None
    shift = 0.04 * np.random.default_rng(0).standard_normal(16)
    found = estimate(table, "mean_difference", tables=blocks(table, shift), arm="muon", baseline="adamw")
    # All seeds and sizes read the same documents: nothing averages the error down.
    assert found.validation_error == pytest.approx(shift.std(ddof=1) / 4)
    assert found.parts[0].se == pytest.approx(np.hypot(plain.parts[0].se, found.validation_error))
    assert found.parts[0].df == pytest.approx(plain.parts[0].df)
    assert any("validation error" in n for n in found.notes)
    ratio = estimate(
        table, "mean_ratio", tables=blocks(table, shift), arm="muon", baseline="adamw", metric="test_loss"
    )
    assert ratio.validation_error == pytest.approx(found.validation_error / table.test_loss.mean(), rel=0.1)


def test_blocks_of_another_metric_or_too_few_add_nothing():
    table = trials(sizes=("d24", "d32"), seeds=3)
    other = blocks(table, np.arange(16.0)).assign(table="validation_loss_blocks")
    assert estimate(table, "mean_difference", tables=other, arm="muon", baseline="adamw").validation_error is None
    few = blocks(table, np.arange(3.0), count=3)
    assert estimate(table, "mean_difference", tables=few, arm="muon", baseline="adamw").validation_error is None
    with pytest.raises(ClaimError, match="the tables have no column 'tokens'"):
        estimate(
            table, "mean_difference", tables=blocks(table, np.ones(16)).drop(columns="tokens"), arm="muon",
            baseline="adamw",
        )  # fmt: skip


def test_in_an_equivalence_a_cell_in_which_both_arms_are_one_trial_is_left_out_and_counted():
    table = trials({"adamw": 1, "muon": 1.0}, sizes=("d24", "d28", "d32", "d40", "d48"))
    twin = (table.arm == "muon") & (table["size"] == "d32")
    source = table[(table.arm == "adamw") & (table["size"] == "d32")]
    table.loc[twin, ["identity", "test_loss"]] = source[["identity", "test_loss"]].to_numpy()
    specification = {"name": "mean_difference", "arm": "muon", "baseline": "adamw"}
    with_it = run(evidence(table), specification)
    without = run(evidence(table, equivalence=True), specification)
    assert (with_it.num_sizes, without.num_sizes) == (5, 4)
    assert without.parts[0].value == pytest.approx(with_it.parts[0].value * 5 / 4)
    assert any("one trial, which is no evidence, in 1 cells, left out: d32" in n for n in without.notes)
    all_twins = table.assign(identity=[f"{r['size']}-{r['seed']}" for r in table.to_dict("records")])
    with pytest.raises(ClaimError, match="no cell lets 'muon' and 'adamw' be compared"):
        run(evidence(all_twins, equivalence=True), specification)


def test_units_come_from_the_workloads_metric():
    table = trials(sizes=("d24", "d32"), max_violation=lambda t: np.random.default_rng(0).random(len(t)))
    assert estimate(table, "mean_difference", arm="muon", baseline="adamw").unit == "nats"
    assert (
        estimate(table, "mean_difference", arm="muon", baseline="adamw", metric="max_violation").unit == ""
    )
    assert estimate(sweep({"mup": 0.0}), "transfer_gap", arm="mup").unit == "nats"


def test_a_metric_without_a_cap_has_no_mean_over_survivors_whatever_its_name():
    table = trials(sizes=("d24", "d32"), loss_of_balance=0.1)
    table.loc[table.index[0], "status"] = "diverged"
    with pytest.raises(ClaimError, match="a mean of 'loss_of_balance' over the survivors is refused, which has no"):
        estimate(table, "mean_difference", arm="muon", baseline="adamw", metric="loss_of_balance")


def test_cells_follow_the_suites_size_axis_whatever_its_name():
    table = trials(sizes=("d24", "d32")).rename(columns={"size": "resolution"})
    specification = {"name": "mean_difference", "arm": "muon", "baseline": "adamw"}
    assert run(evidence(table.assign(size=1), size_axis="resolution"), specification).num_sizes == 2
    with pytest.raises(ClaimError, match="several evaluation trials of one seed"):
        run(evidence(table.assign(size=1), size_axis=None), specification)
    with pytest.raises(ClaimError, match="the suite has no size axis; name one"):
        run(evidence(sweep({"mup": 0.0}), size_axis=None), {"name": "optimum_slope", "arm": "mup"})


def test_weights_change_the_mean_and_must_be_complete():
    table = trials(sizes=("d24", "d64"), seeds=3)
    only = estimate(table, "mean_difference", arm="muon", baseline="adamw", weights={"d24": 1, "d64": 0})
    first = estimate(table, "mean_difference", arm="muon", baseline="adamw", where={"size": "d24"})
    assert only.parts[0].value == pytest.approx(first.parts[0].value)
    assert only.parts[0].df == pytest.approx(2)
    with pytest.raises(ClaimError, match="no weight for cells d64"):
        estimate(table, "mean_difference", arm="muon", baseline="adamw", weights={"d24": 1})


def test_sign_flip_needs_six_pairs():
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


def test_identity_difference_is_the_largest_gap():
    table = trials({"a": 1, "b": 1}, sd=0)
    table.loc[table.index[-1], "test_loss"] += 0.25
    found = estimate(table, "identity_difference", arm="a", baseline="b", metric="test_loss")
    assert found.exact
    assert found.parts[0].value == pytest.approx(0.25)

"""Differences, shares and slopes of what probes measured."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis.verdicts import Region, p_values
from harness.errors import ClaimError
from tests.analysis.records import estimate, trials


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
    # Half a matrix on either side of 162 keeps the logit finite.
    assert found.shown(found.parts[0].value) == pytest.approx(shares.mean(), abs=0.5 / 163)
    low, high = found.interval()
    assert 0 <= low < found.shown(found.parts[0].value) < high <= 1
    assert len(found.table) == 9
    assert found.num_seeds == 3
    assert found.parts[0].df <= 6


def test_shares_that_are_all_one_are_counted_by_runs():
    """12 of 12: [.74, 1]; an interval beyond 1 was printed here once."""
    sizes = ("d24", "d48", "d96", "d97")
    four = pd.concat([probes(difference=1.0), probes(difference=1.0).query("size == 'd96'").replace("d96", "d97")])
    found = estimate(
        trials(sizes=sizes),
        "share_by_seed",
        probes=four.assign(identity=four["arm"] + four["size"] + four["seed"].astype(str)),
        arm="muon",
        baseline="adamw",
        where={"functional": "entropy"},
        steps="all",
    )
    assert len(found.parts) == 2  # the checkpoint at init is left out
    assert [found.shown(p.value) for p in found.parts] == [1, 1]
    assert found.interval() == pytest.approx((0.025 ** (1 / 12), 1))
    hold, fail = p_values(found, Region(all={"above": 0.9}))
    assert hold == pytest.approx(0.9**12)
    assert fail == 1


def test_a_spread_that_rests_on_one_run_is_no_spread():
    frame = probes(difference=1.0)
    one = (frame.arm == "muon") & (frame["size"] == "d48") & (frame.seed == 1) & (frame.matrix == "m3")
    frame.loc[one, "value"] -= 2
    arguments = {"arm": "muon", "baseline": "adamw", "where": {"functional": "entropy"}}
    table = trials(sizes=("d24", "d48", "d96"))
    found = estimate(table, "share_by_seed", probes=frame, **arguments)
    assert found.parts[0].count == (pytest.approx(8 + 17 / 18), 9)
    assert any("1 runs have a share between 0 and 1: interval over 9 runs" in n for n in found.notes)
    frame.loc[(frame.arm == "muon") & (frame["size"] == "d24") & (frame.matrix == "m3"), "value"] -= 2
    assert estimate(table, "share_by_seed", probes=frame, **arguments).parts[0].count is None


def test_equal_shares_between_0_and_1_are_counted_by_runs_too():
    frame = probes(difference=0.0, sd=0.0)
    frame.loc[(frame.arm == "muon") & frame.matrix.isin([f"m{i}" for i in range(9)]), "value"] += 1
    found = estimate(
        trials(sizes=("d24", "d48", "d96")), "share_by_seed", probes=frame, arm="muon", baseline="adamw",
        where={"functional": "entropy"},
    )  # fmt: skip
    assert found.parts[0].count == (4.5, 9)
    low, high = found.interval()
    assert (low, high) == pytest.approx((1 - high, 1 - low))
    assert 0.1 < low < 0.5


def test_the_last_checkpoint_is_the_last_that_every_trial_has_and_is_named():
    frame = probes()
    # The update of the smallest size ends at a learning rate of 0: no rank there.
    frame.loc[(frame["size"] == "d24") & (frame.step == 20), "value"] = np.nan
    frame.loc[frame.step == 20, "value"] += 100
    frame.loc[frame["size"] == "d96", "step"] *= 4
    found = estimate(
        trials(sizes=("d24", "d48", "d96")), "probe_slope", probes=frame, arm="muon", axis="width",
        where={"functional": "entropy"},
    )  # fmt: skip
    assert found.num_sizes == 3
    assert all(found.table[0][f"width {w}"] < 10 for w in (24, 48, 96))
    assert "checkpoint 2, the last that every trial has: steps 10 to 40" in found.notes
    difference = estimate(
        trials(sizes=("d24", "d48", "d96")), "probe_difference", probes=frame, arm="muon", baseline="adamw",
        where={"functional": "entropy"}, steps="all",
    )  # fmt: skip
    assert [p.label for p in difference.parts] == ["checkpoint 2 (steps 10 to 40)"]
    assert "left out, as some trials lack their values: checkpoints 3" in difference.notes
    frame.loc[(frame["size"] == "d24") & (frame.step == 10), "value"] = np.nan
    frame.loc[(frame["size"] == "d48") & (frame.step == 0), "value"] = np.nan
    with pytest.raises(ClaimError, match="no checkpoint has its values in every trial"):
        estimate(
            trials(sizes=("d24", "d48", "d96")), "probe_slope", probes=frame, arm="muon", axis="width",
            where={"functional": "entropy"},
        )  # fmt: skip


def test_a_checkpoint_of_all_is_named_with_its_step():
    found = estimate(
        trials(sizes=("d24", "d48", "d96")), "probe_difference", probes=probes(), arm="muon", baseline="adamw",
        where={"functional": "entropy"}, steps="all",
    )  # fmt: skip
    assert [p.label for p in found.parts] == ["checkpoint 2 (step 10)", "checkpoint 3 (step 20)"]
    with pytest.raises(ClaimError, match="steps is 'first': input should be 'last' or 'all'"):
        estimate(
            trials(sizes=("d24", "d48", "d96")), "probe_difference", probes=probes(), arm="muon", baseline="adamw",
            steps="first",
        )  # fmt: skip


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
        table, "probe_slope", probes=frame, arm="muon", axis="width", where={"functional": "entropy"},
        parts=["kind"],
    )  # fmt: skip
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

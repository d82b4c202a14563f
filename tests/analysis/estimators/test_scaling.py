"""Compute at equal loss, and its drift."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis import compute_ratio as law
from harness.errors import ClaimError
from tests.analysis.records import estimate, trials


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
    with pytest.raises(ClaimError, match="form is 'cubic': input should be 'auto', 'shared_power_law'"):
        estimate(trials(), "compute_ratio", arm="muon", baseline="adamw", form="cubic")


@pytest.mark.parametrize(
    ("other", "judged"),
    [
        (lambda x, y: law.fit_free(x, y), "shared_power_law"),  # close to the law: nothing to doubt
        (lambda x, y: 0.3 + 3 * law.fit_free(x, y), "fit_free"),  # far and wider
        (lambda x, y: 0.3 + 0.1 * law.fit_free(x, y), "shared_power_law"),  # far and narrower
    ],
)
def test_the_wider_of_law_and_fit_free_is_judged_where_they_differ(monkeypatch, other, judged):
    table = trials(sd=0.01)
    monkeypatch.setitem(law.FORMS, "fit_free", other)
    found = estimate(table, "compute_ratio", arm="muon", baseline="adamw")
    assert found.parts[0].label == judged
    assert [r["form"] for r in found.forms if r["used"]] == [judged]
    rows = {r["form"]: np.log([r["low"], r["estimate"], r["high"]]) for r in found.forms}
    apart = abs(rows["shared_power_law"][1] - rows["fit_free"][1])
    doubted = apart > (rows["shared_power_law"][2] - rows["shared_power_law"][0]) / 2 / 3
    assert doubted == any("over a third of the half-width" in n for n in found.notes)
    named = estimate(table, "compute_ratio", arm="muon", baseline="adamw", form="shared_power_law")
    assert named.parts[0].label == "shared_power_law"


def timed(table, seconds):
    """With exclusive timing trials, each arm's step at these seconds for every unit of compute."""
    table = table.assign(steps=100.0, seconds_training=1e9)
    timing = table.drop_duplicates(["arm", "size"]).assign(role="timing", steps=10.0)
    timing["seconds_training"] = 10 * timing.flops / 1e12 * timing.arm.map(seconds)
    timing["identity"] += "-timing"
    return pd.concat([table, timing], ignore_index=True)


def test_the_ratio_in_seconds_stands_beside_that_in_flops_where_arms_were_timed():
    table = trials(sd=0.001)
    pair = {"arm": "muon", "baseline": "adamw"}
    assert "wall_clock" not in {r["form"] for r in estimate(table, "compute_ratio", **pair).forms}
    found = estimate(timed(table, {"adamw": 1.0, "muon": 1.5}), "compute_ratio", **pair)
    rows = {r["form"]: r for r in found.forms}
    flops = rows["shared_law_with_floor"]["estimate"]
    assert rows["wall_clock"]["estimate"] == pytest.approx(1.5 * flops, rel=0.01)
    assert not rows["wall_clock"]["used"]
    gone = timed(table, {"adamw": 1.0, "muon": 1.5}).query("role != 'timing' or size != 'd24'")
    assert "wall_clock" not in {r["form"] for r in estimate(gone, "compute_ratio", **pair).forms}

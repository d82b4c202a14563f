"""The noise of a run, measured and printed."""

import numpy as np
import pandas as pd
import pytest

from harness.analysis.noise import noise_table
from harness.errors import ClaimError
from tests.analysis.records import sweep, trials


def test_noise_table_has_sd_correlation_and_sd_of_the_difference():
    table = trials(sizes=("d24",), seeds=5)
    row = noise_table(table, baseline="adamw", by=["size"]).set_index("arm").loc["muon"]
    a, b = (table[table.arm == x]["test_loss"].to_numpy() for x in ("muon", "adamw"))
    assert row["n"] == 5
    assert row["sd"] == pytest.approx(a.std(ddof=1))
    assert row["r"] == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert row["sd_difference"] == pytest.approx((a - b).std(ddof=1))
    assert row["sd_unpaired"] == pytest.approx(np.hypot(a.std(ddof=1), b.std(ddof=1)))


def test_noise_of_a_sweep_is_that_of_the_best_learning_rate():
    table = sweep({"standard": 0.0, "mup": 0.0}, widths=(32, 64))
    row = noise_table(table, "validation_loss", by=["width"]).set_index(["cell", "arm"]).loc[("32", "standard")]
    at = table[(table.arm == "standard") & (table.width == 32) & (table["optimizer.lr"] == 2.0**-7)]
    assert row["n"] == 3
    assert row["sd"] == pytest.approx(at.validation_loss.std(ddof=1))
    deep = pd.concat([table.assign(depth=2), table[table.arm == "mup"].assign(depth=4)])
    cells = noise_table(deep, "validation_loss", by=["width", "depth", "absent"])["cell"].unique()
    assert set(cells) == {"32 2", "32 4", "64 2", "64 4"}
    with pytest.raises(ClaimError, match="holds several trials of one seed; name the axes with `by`"):
        noise_table(table, "validation_loss")

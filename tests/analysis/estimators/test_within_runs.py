"""One number a run from its own probe rows: correlations over sites, contrasts between rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.errors import ClaimError
from tests.analysis.records import estimate, trials

SITES = [(0, "attention"), (0, "feed_forward"), (1, "attention"), (1, "feed_forward"), (-1, "final")]


def probes(seeds: int = 4, slope: float = -1.0, noise: float = 0.3) -> pd.DataFrame:
    """alpha = std^slope with noise, at two steps (at the first the other way), and two fits a site."""
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for layer, site in SITES:
            std = float(np.exp(rng.standard_normal()))
            place = {
                "identity": f"dyt-d24-{seed}", "suite": "s", "arm": "dyt", "role": "evaluation", "seed": seed,
                "size": "d24", "probe": "norm_sites", "layer": layer, "site": site,
            }
            for step, power in ((0, -slope), (9, slope)):
                alpha = float(std**power * np.exp(noise * rng.standard_normal()))
                rows.append({**place, "kind": "site", "step": step, "input_std": std, "alpha_mean": alpha})
            for fit, r2 in (("tanh", 0.9), ("isru", 0.9 + 0.01 * seed + 0.001 * layer), ("erf", 0.1)):
                rows.append({**place, "kind": "fit", "step": 9, "fit": fit, "r2": r2})
    return pd.DataFrame(rows)


TRIALS = trials({"dyt": 1.0}, sizes=("d24",), seeds=4)


def test_a_correlation_is_one_rank_correlation_a_run_at_the_end() -> None:
    frame = probes()
    found = estimate(TRIALS, "probe_correlation", probes=frame, arm="dyt", x="input_std", y="alpha_mean")
    last = frame[(frame.kind == "site") & (frame.step == 9)]
    own = [stats.spearmanr(g.input_std, g.alpha_mean).statistic for _, g in last.groupby("seed")]
    assert found.parts[0].value == pytest.approx(np.mean(own)) and found.parts[0].value < -0.5
    assert found.interval() == pytest.approx(stats.ttest_1samp(own, 0).confidence_interval(0.95))
    assert found.num_seeds == 4 and len(found.identities) == 4


def test_a_correlation_does_not_see_monotone_changes_of_scale() -> None:
    frame = probes()
    frame["inverse"] = 1 / frame["input_std"]
    of = {"arm": "dyt", "y": "alpha_mean", "probes": frame}
    plain, turned = (estimate(TRIALS, "probe_correlation", x=x, **of) for x in ("input_std", "inverse"))
    assert plain.parts[0].value == pytest.approx(-turned.parts[0].value)


def test_a_contrast_is_the_mean_difference_over_units_of_a_run() -> None:
    found = estimate(
        TRIALS, "probe_contrast", probes=probes(), arm="dyt", column="fit", first="isru", second="tanh",
        value="r2", unit=["layer", "site"],
    )
    own = 0.01 * np.arange(4) + 0.001 * np.mean([layer for layer, _ in SITES])
    assert found.parts[0].value == pytest.approx(own.mean())
    assert found.interval() == pytest.approx(stats.ttest_1samp(own, 0).confidence_interval(0.95))


def test_what_a_run_lacks_is_told() -> None:
    frame = probes()
    of = {"arm": "dyt", "x": "input_std", "y": "alpha_mean"}
    constant = frame.assign(input_std=frame["input_std"].where(frame["seed"] > 0, 1.0))
    found = estimate(TRIALS, "probe_correlation", probes=constant, **of)
    assert found.num_trials == 3 and any("1 of 4 runs have no such number" in note for note in found.notes)
    with pytest.raises(ClaimError, match="no run of 'dyt' has what this needs"):
        estimate(TRIALS, "probe_correlation", probes=frame, **of, where={"layer": -1})
    with pytest.raises(ClaimError, match="no values of 'r2'"):
        estimate(
            TRIALS, "probe_contrast", probes=frame, arm="dyt", column="fit", first="isr", second="tnh",
            value="r2", unit=["layer", "site"],
        )


def test_a_contrast_without_a_second_is_the_value_itself() -> None:
    found = estimate(
        TRIALS, "probe_contrast", probes=probes(), arm="dyt", column="fit", first="isru", value="r2",
        unit=["layer", "site"], label="of variance",
    )  # fmt: skip
    own = 0.9 + 0.01 * np.arange(4) + 0.001 * np.mean([layer for layer, _ in SITES])
    assert found.parts[0].value == pytest.approx(own.mean()) and found.unit == "of variance"

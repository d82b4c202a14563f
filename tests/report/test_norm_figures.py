"""Figures of norms and of differences on tables made by hand: what is drawn, said and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.report.colours import Palette
from harness.report.figures import Drawing, Frames, MissingDataError, draw
from harness.report.labels import Labels
from harness.wording import banned_in
from harness.workload import workload_module
from tests.analysis.records import trials

SITES = [(0, "attention"), (0, "feed_forward"), (1, "attention"), (1, "feed_forward"), (-1, "final")]
SEEDS = 6


def probes(arm: str = "dyt", slope: float = -1.0) -> pd.DataFrame:
    """Sites with alpha = std^slope at the end, its inverse at the start; responses tanh(x / 2) and two fits."""
    rows = []
    for seed in range(SEEDS):
        for index, (layer, site) in enumerate(SITES):
            place = {
                "identity": f"{arm}-d32-{seed}", "suite": "s", "arm": arm, "role": "evaluation", "seed": seed,
                "size": "d32", "probe": "norm_sites", "layer": layer, "site": site,
            }
            std = 2.0**index
            for step, power in ((0, -slope), (9, slope)):
                rows.append({**place, "kind": "site", "step": step, "input_std": std, "alpha_mean": std**power})
            for b, x in enumerate(np.linspace(-3, 3, 16)):
                y = np.tanh(x / 2) + seed
                point = {"bin": b, "input": x, "output": y, "output_sd": 0.1}
                rows.append({**place, "kind": "response", "step": 9, **point})
            for fit, r2 in (("linear", 0.8), ("tanh", 0.95), ("ceiling", 0.97)):
                rows.append({
                    **place, "kind": "fit", "step": 9, "fit": fit, "r2": r2, "fit_gain": 1.0, "fit_slope": 0.5,
                    "fit_offset": float(seed),
                })
    return pd.DataFrame(rows)


LOSSES = {
    "layernorm": [2.2, 2.3, 2.25, 2.2, 2.3, 2.25],
    "dyt": [2.25, 2.32, 2.31, 2.24, 2.33, 2.3],
    "derf": [3.2, 2.1, 3.2, 2.1, 3.2, 2.1],
}


def frames(**fields: Any) -> Frames:
    table = trials(dict.fromkeys(LOSSES, 1.0), sizes=("d32",), seeds=SEEDS)
    table["test_loss"] = [loss for losses in LOSSES.values() for loss in losses]
    known = {
        "trials": table, "curves": pd.DataFrame(), "probes": pd.concat([probes(), probes("derf", slope=1.0)]),
        "palette": Palette.of([LOSSES]), "axes": ("size",),
        "labels": Labels(metrics=workload_module("language_model").METRICS),
    }
    return Frames(**{**known, **fields})


OPTIONS: dict[str, dict[str, Any]] = {
    "differences": {"against": {"layernorm": ["dyt", "derf"]}, "shares": ["derf"]},
    "alpha_against_std": {},
    "response_curves": {"arm": "dyt"},
}


def drawn(kind: str, found: Frames | None = None, **options: Any) -> Drawing:
    return draw(kind, found or frames(), {**OPTIONS[kind], **options})


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_kind_gives_a_figure_its_data_and_words_and_fits_a_phone(kind: str) -> None:
    drawing = drawn(kind)
    assert all(ax.has_data() for ax in drawing.figure.axes) and len(drawing.data) >= 3
    assert any(c.isdigit() for c in drawing.alt) and "nan" not in drawing.alt.lower()
    assert not banned_in(drawing.alt + drawing.caption)
    assert draw(kind, frames(), OPTIONS[kind], columns=1).figure.get_figwidth() < 4.5


def test_a_difference_is_the_mean_of_the_pairs_with_its_t_interval() -> None:
    drawing = drawn("differences")
    own = np.subtract(LOSSES["dyt"], LOSSES["layernorm"])
    row = drawing.data[drawing.data["arm"] == "dyt"].iloc[0]
    low, high = stats.ttest_1samp(own, 0).confidence_interval(0.95)
    assert row["mean"] == pytest.approx(own.mean())
    assert row["half_width_95"] == pytest.approx((high - low) / 2)
    dots = drawing.figure.axes[0].lines[0]
    assert list(dots.get_xdata()) == pytest.approx(list(own))


def test_arms_of_two_kinds_of_seeds_get_a_share_and_no_mean() -> None:
    drawing = drawn("differences")
    assert drawing.data.loc[drawing.data["arm"] == "derf", "mean"].isna().all()
    assert "derf less layernorm: 3 of 6 seeds below" in drawing.alt
    assert "seeds are of two kinds" in drawing.caption
    assert drawn("differences", shares=[]).data["mean"].notna().all()


def test_a_seed_without_a_number_takes_the_mean_away() -> None:
    table = frames().trials
    table.loc[(table["arm"] == "dyt") & (table["seed"] == 2), ["status", "test_loss"]] = ["diverged", np.nan]
    drawing = drawn("differences", frames(trials=table))
    assert drawing.data.loc[drawing.data["arm"] == "dyt", "mean"].isna().all()
    assert "dyt less layernorm: 0 of 6 seeds below" in drawing.alt


def test_arms_without_trials_are_left_out_and_none_at_all_is_told() -> None:
    against = {"layernorm": ["dyt", "rmsnorm"], "rmsnorm": ["dyt"]}
    assert set(drawn("differences", against=against).data["arm"]) == {"dyt"}
    with pytest.raises(MissingDataError, match="no pairs of one seed of rmsnorm and their arms"):
        drawn("differences", against={"rmsnorm": ["dyt"]})


def test_slopes_are_those_of_the_end_with_their_rank_correlation() -> None:
    drawing = drawn("alpha_against_std")
    assert len(drawing.data) == 2 * SEEDS * len(SITES)
    mine = drawing.data[drawing.data["arm"] == "dyt"]
    assert list(mine["alpha_mean"]) == pytest.approx(list(mine["inverse_std"])), "the start is not drawn"
    assert "dyt: rank correlation over sites 1" in drawing.alt
    assert "derf: rank correlation over sites -1" in drawing.alt.replace("\N{MINUS SIGN}", "-")


def test_norms_without_a_slope_have_no_such_figure() -> None:
    rows = probes().assign(alpha_mean=np.nan)
    with pytest.raises(MissingDataError, match="without alpha_mean"):
        drawn("alpha_against_std", frames(probes=rows))


def test_a_response_is_one_seeds_with_the_best_fit_over_it() -> None:
    drawing = drawn("response_curves", seed=2)
    panels = [ax.get_title(loc="left") for ax in drawing.figure.axes]
    assert panels == [f"block {i}, {s}" for i in (0, 1) for s in ("attention", "feed-forward")] + ["final"]
    curve, fit = drawing.figure.axes[0].lines
    assert list(curve.get_ydata()) == pytest.approx(list(np.tanh(np.linspace(-3, 3, 16) / 2) + 2))
    assert list(fit.get_ydata()) == pytest.approx(list(curve.get_ydata())), "tanh, the better of the two"
    assert "final: tanh explains 0.95 of the variance, any function 0.97" in drawing.alt


def test_an_arm_without_responses_is_told() -> None:
    with pytest.raises(MissingDataError, match="no trials of the arms"):
        drawn("response_curves", arm="layernorm")
    with pytest.raises(MissingDataError, match="no response of the arm dyt with the seed 99"):
        drawn("response_curves", seed=99)

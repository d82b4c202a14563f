"""Every figure kind on synthetic data: what is drawn, what is said, and what is refused."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.analysis.claims import evaluate_claims, load_claims
from harness.errors import HarnessError, UnknownNameError
from harness.planning import compose as suites
from harness.report.cells import cell_means
from harness.report.colours import GRID, PAPER, Palette, contrast, on_dark
from harness.report.figures import Drawing, Frames, MissingDataError, check_options, draw, kinds
from harness.report.labels import Labels
from harness.wording import banned_in
from harness.workload import workload_module

SCRIPT = "<script>alert(1)</script>"
SUITE_OF: dict[str, tuple[str, dict[str, Any]]] = {
    "loss_against_lr": ("muon_scaling", {}),
    "loss_against_flops": ("muon_scaling", {}),
    "training_curves": ("muon_scaling", {}),
    "step_time": ("muon_scaling", {}),
    "metric_by_arm": ("muon_scaling", {}),
    "rank_over_training": ("muon_scaling", {}),
    "rank_heatmap": ("muon_scaling", {}),
    "spectra": ("muon_scaling", {}),
    "probe_over_training": ("muon_scaling", {"where": {"functional": "svd_entropy"}, "reference": 0.9}),
    "lr_transfer": ("mup_transfer", {}),
    "optimum_against_width": ("mup_transfer", {}),
    "coordinate_check": ("mup_transfer", {}),
    "metric_against_axis": ("mup_transfer", {}),
    "table_lines": ("muon_scaling", {"table": "loads", "x": "step", "y": "load", "line": "expert"}),
    "table_points": (
        "muon_scaling", {"table": "loads", "x": "expert", "y": "load", "of": "expert", "where": {"step": 30}},
    ),
    "table_heatmap": (
        "muon_scaling", {"table": "loads", "row": "expert", "column": "step", "value": "load", "centre": 1.0},
    ),
    "coloured_text": ("muon_scaling", {"table": "letters", "text": "letter", "value": "experts"}),
    "rate_distortion": ("ddcm_rate_distortion", {"rate": "bits_per_pixel", "quality": "psnr", "by": "quality"}),
    "metric_against_metric": ("ddcm_rate_distortion", {"x": "bits_per_pixel", "y": "psnr", "axis": "quality"}),
}


def frames_of(inputs: dict[str, Any], suite: str) -> Frames:
    def mine(name: str) -> pd.DataFrame:
        frame: pd.DataFrame = inputs[name]
        return frame[frame["suite"] == suite]

    groups = inputs["trials"].groupby("suite", sort=False)["arm"].unique()
    return Frames(
        trials=mine("trials"),
        curves=mine("curves"),
        probes=mine("probes"),
        record_tables=mine("record_tables"),
        palette=Palette.of(groups),
        claims=[c for c in inputs["claims"] if c["suite"] == suite],
        axes=tuple(next(s for s in inputs["suites"] if s["name"] == suite)["axes"]),
        labels=Labels(metrics=workload_module("language_model").METRICS),
        selection="validation_loss",
    )


def drawn(inputs: dict[str, Any], kind: str, columns: int | None = None, **options: Any) -> Drawing:
    suite, usual = SUITE_OF[kind]
    return draw(kind, frames_of(inputs, suite), {**usual, **options}, columns=columns)


ELSEWHERE = {"differences", "alpha_against_std", "response_curves"}
"""Kinds on tables of their own: test_norm_figures."""


def test_every_kind_is_tested_and_described() -> None:
    assert set(kinds()) == set(SUITE_OF) | ELSEWHERE
    assert all(len(about) > 20 for about, _ in kinds().values())


@pytest.mark.parametrize("kind", SUITE_OF)
def test_a_kind_gives_a_figure_its_data_and_words(inputs: dict[str, Any], kind: str) -> None:
    drawing = drawn(inputs, kind)
    assert drawing.figure.axes and any(ax.has_data() for ax in drawing.figure.axes)
    assert len(drawing.data) >= 3
    # Generated from the data: it names the chart and holds numbers.
    assert "chart" in drawing.alt or "Scatter" in drawing.alt or "map" in drawing.alt
    assert any(c.isdigit() for c in drawing.alt) and "nan" not in drawing.alt.lower()
    assert not banned_in(drawing.alt + drawing.caption)


@pytest.mark.parametrize("kind", SUITE_OF)
def test_a_narrow_figure_fits_a_phone(inputs: dict[str, Any], kind: str) -> None:
    assert drawn(inputs, kind, columns=1).figure.get_figwidth() <= 4.0


@pytest.mark.parametrize("kind", SUITE_OF)
def test_missing_data_is_refused_with_a_reason(inputs: dict[str, Any], kind: str) -> None:
    suite, options = SUITE_OF[kind]
    full = frames_of(inputs, suite)
    empty = dataclasses.replace(
        full, trials=full.trials.iloc[:0], curves=full.curves.iloc[:0], probes=full.probes.iloc[:0],
        record_tables=full.record_tables.iloc[:0],
    )  # fmt: skip
    for frames in (empty, dataclasses.replace(empty, curves=pd.DataFrame(), probes=pd.DataFrame())):
        with pytest.raises(MissingDataError) as refused:
            draw(kind, frames, options)
        assert len(str(refused.value)) > 5


def test_a_level_is_drawn_and_named_where_it_is_asked_for(inputs: dict[str, Any]) -> None:
    plain, levelled = (drawn(inputs, "training_curves", **more) for more in ({}, {"level": "seconds_training"}))
    dashed = [[ln for ln in d.figure.axes[0].lines if ln.get_linestyle() == "--"] for d in (plain, levelled)]
    assert not dashed[0] and len(dashed[1]) == 1
    smallest = inputs["trials"].query("suite == 'muon_scaling' and role == 'evaluation' and size == 'd24'")
    (height,) = set(dashed[1][0].get_ydata())
    assert height == pytest.approx(smallest["seconds_training"].mean(), rel=0.2)
    assert "Dashed: " in levelled.alt and "Dashed: " in levelled.caption


def test_tables_of_trials_are_drawn_as_they_are(inputs: dict[str, Any]) -> None:
    loads = inputs["record_tables"].query("table == 'loads' and size == 'd24'")
    heat = drawn(inputs, "table_heatmap").data.set_index(["arm", "expert", "step"])["load"]
    first = loads[loads["seed"] == loads["seed"].min()].set_index(["arm", "expert", "step"])["load"]
    pd.testing.assert_series_equal(heat.sort_index(), first.sort_index())
    lines = drawn(inputs, "table_lines").data.set_index(["arm", "expert", "step"])["load"]
    means = loads.groupby(["arm", "expert", "step"])["load"].mean()
    pd.testing.assert_series_equal(lines.sort_index(), means.sort_index())
    text = drawn(inputs, "coloured_text")
    assert "".join(text.data[text.data["arm"] == "muon"]["letter"]).startswith("def f(x):\n\treturn")
    shown = {t.get_text() for t in text.figure.axes[0].texts}
    assert {"\u21b5", "\u2192", "\u00b7", "d"} <= shown and "\n" not in shown


def test_a_table_that_no_trial_left_is_named(inputs: dict[str, Any]) -> None:
    with pytest.raises(MissingDataError, match="no trial left a table 'load'"):
        drawn(inputs, "table_heatmap", table="load")


def test_an_unknown_kind_is_named_with_the_valid_ones(inputs: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'loss_against_lr'"):
        draw("loss_against_lrs", frames_of(inputs, "muon_scaling"))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("lost", {}, r"mine.yaml: figures: unknown figure kind 'lost'.*Valid: alpha_against_std, "),
        ("lr_transfer", {"axiss": "width"}, r"figures: lr_transfer: unknown option 'axiss'. Did you mean 'axis'\?"),
        ("lr_transfer", {"axis": 3}, r"lr_transfer: option 'axis': .*string \(got 3\); it is str \| None = None"),
        ("metric_by_arm", {"title": 3}, r"option 'title': .*string \(got 3\); it is str"),
        ("metric_against_axis", {"y_scale": "ln"}, r"option 'y_scale': .*'linear' or 'log' \(got 'ln'\)"),
        ("metric_against_metric", {"x": "flops"}, r"metric_against_metric: needs y; its options: x, y, "),
        ("training_curves", {"arms": "muon"}, r"option 'arms': .*list \(got 'muon'\)"),
    ],
)
def test_options_are_checked_by_the_figures_signature(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        check_options(kind, options, "mine.yaml: figures")


def test_every_figure_of_a_shipped_suite_is_accepted() -> None:
    for name in suites.shipped():
        for figure in suites.load(name, "cpu").figures:
            check_options(figure["kind"], {k: v for k, v in figure.items() if k != "kind"})


def test_kinds_tell_their_options_with_type_and_default() -> None:
    about, options = kinds()["step_time"]
    assert about == "Time per step from exclusive, interleaved timing trials, one line an arm."
    assert options == {"axis": "str | None = None", "arms": "list[str] | None = None", "title": "str"}


def test_figures_find_themselves_and_need_no_torch() -> None:
    code = (
        "import sys; from harness.report.figures import kinds; assert len(kinds()) >= 14; "
        "assert not {'torch', 'mlflow', 'optuna', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_minima_are_those_of_the_data(inputs: dict[str, Any]) -> None:
    data = drawn(inputs, "loss_against_lr").data
    trials = inputs["trials"]
    tuning = trials[(trials["suite"] == "muon_scaling") & (trials["role"] == "tuning")]
    best = tuning.loc[tuning.groupby(["arm", "size"])["validation_loss"].idxmin()]
    marked = data[data["is_minimum"]]
    assert set(zip(marked["arm"], marked["size"], marked["lr"], strict=True)) == set(
        zip(best["arm"], best["size"], best["optimizer.lr"], strict=True)
    )


def test_a_cell_with_a_diverged_seed_has_no_mean(inputs: dict[str, Any]) -> None:
    data = drawn(inputs, "loss_against_flops").data
    cell = data[(data["arm"] == "muon_transferred") & (data["size"] == "d24")].iloc[0]
    assert np.isnan(cell["test_loss"]) and cell["num_missing"] == 1
    assert "1 trial diverged" in drawn(inputs, "loss_against_flops").alt


def test_intervals_are_t_intervals() -> None:
    values = [1.0, 1.3, 1.1]
    cells = cell_means(pd.DataFrame({"arm": "a", "loss": values}), ["arm"], "loss")
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert cells["half_width_95"][0] == pytest.approx((high - low) / 2)
    assert np.isnan(cell_means(pd.DataFrame({"arm": ["a"], "loss": [1.0]}), ["arm"], "loss")["half_width_95"][0])


def test_the_compute_ratio_stands_with_its_figure(inputs: dict[str, Any]) -> None:
    assert "0.56 [0.47, 0.66]" in drawn(inputs, "loss_against_flops").caption


def test_slopes_of_the_coordinate_check(inputs: dict[str, Any]) -> None:
    slopes = drawn(inputs, "coordinate_check").data.groupby("arm")["slope"].mean()
    assert slopes["mup"] == pytest.approx(0.0, abs=1e-9)
    assert slopes["standard"] == pytest.approx(0.9)


COORDINATES = {
    "says": "Sizes of activations do not depend on width.", "source": "this test", "kind": "equivalence",
    "estimator": {
        "name": "probe_slope", "arm": "mup", "axis": "width", "probe": "coordinate", "parts": ["layer", "site"],
        "where": {"statistic": "change", "site": ["attention", "feed_forward"], "optimizer.lr": 2.0**-6},
    },
    "expects": {"all": {"within": [-0.25, 0.25]}},
}  # fmt: skip


def at_mixed_rates(inputs: dict[str, Any]) -> Frames:
    """The transfer suite's coordinates: every width at 2^-6, and each at a rate of its own, where all is larger."""
    frames = frames_of(inputs, "mup_transfer")
    rng = np.random.default_rng(3)
    rows = frames.probes.assign(**{"optimizer.lr": 2.0**-6, "role": "evaluation"})
    rows["value"] *= np.exp(rng.normal(0, 0.02, len(rows)))
    own = rows.assign(value=rows["value"] * rows["width"], **{"optimizer.lr": 2.0**-5 / rows["width"]})
    return dataclasses.replace(frames, probes=pd.concat([rows, own], ignore_index=True))


def test_a_figure_shows_the_slopes_that_its_claim_judges(inputs: dict[str, Any]) -> None:
    frames = at_mixed_rates(inputs)
    # A second rate that all widths ran, where sizes do grow: another filter, other slopes.
    other = frames.probes[frames.probes["optimizer.lr"] == 2.0**-6]
    other = other.assign(value=other["value"] * other["width"] ** 0.3, **{"optimizer.lr": 2.0**-8})
    frames = dataclasses.replace(frames, probes=pd.concat([frames.probes, other], ignore_index=True))
    (result,) = evaluate_claims(
        load_claims({"flat": COORDINATES}), frames.trials, probes=frames.probes, profile="cpu", check_choices=False
    )
    frames = dataclasses.replace(frames, claims=[result.as_dict()])
    data = draw("coordinate_check", frames, {"claim": "flat"}).data
    drawn_ = data[data["arm"] == "mup"].groupby("line")["slope"].first()
    judged = {row["part"]: row["slope"] for row in result.as_dict()["table"]}
    assert len(judged) == 3
    for part, slope in judged.items():
        layer, _, site = part.partition(" ")
        assert drawn_[f"{site.replace('_', ' ')} {layer}"] == pytest.approx(slope, abs=1e-12)
    with pytest.raises(MissingDataError, match="no claim 'lost' here; claims: flat"):
        draw("coordinate_check", frames, {"claim": "lost"})


def test_sizes_at_different_learning_rates_are_never_one_line(inputs: dict[str, Any]) -> None:
    frames = at_mixed_rates(inputs)
    slopes = draw("coordinate_check", frames).data.groupby("arm")["slope"].mean()
    assert slopes["mup"] == pytest.approx(0.0, abs=0.05) and slopes["standard"] == pytest.approx(0.9, abs=0.05)
    own = frames.probes[frames.probes["optimizer.lr"] != 2.0**-6]
    with pytest.raises(MissingDataError, match="no arm ran one optimizer LR at all values of width: name a claim"):
        draw("coordinate_check", dataclasses.replace(frames, probes=own))


def test_optima_of_the_analysis_are_preferred_to_bare_minima(inputs: dict[str, Any]) -> None:
    frames = frames_of(inputs, "mup_transfer")
    data = draw("optimum_against_width", frames).data
    # The claim on muP's slope fitted two optima; the others are bare minima.
    assert data.loc[data["arm"] == "mup", "log2_lr"].tolist() == [-6.4, -6.4]
    assert data.groupby("arm")["fitted"].all().to_dict() == {"mup": True, "standard": False, SCRIPT: False}
    caption = draw("optimum_against_width", frames).caption
    assert "fitted by the analysis: mup." in caption and "never judged: standard and" in caption
    optima = pd.DataFrame({"arm": "standard", "width": [32, 64, 128], "log2_lr": [-6.0, -6.5, -7.0]})
    given = draw("optimum_against_width", dataclasses.replace(frames, tables={"optima": optima})).data
    assert given.loc[given["arm"] == "standard", "slope"].unique() == pytest.approx([-0.5])


def test_curves_of_a_lost_arm_end_with_its_first_lost_seed(inputs: dict[str, Any]) -> None:
    data = drawn(inputs, "training_curves", values=["d24"]).data
    assert data[data["arm"] == "muon_transferred"]["step"].max() < 130
    assert data[data["arm"] == "adamw"]["step"].max() > 390


def test_the_baseline_of_ranks_is_the_untrained_gaussian(inputs: dict[str, Any]) -> None:
    from harness.metrics.marchenko_pastur import gaussian_limit

    data = drawn(inputs, "rank_over_training").data
    expected = np.mean([gaussian_limit("svd_entropy", 64, 64), gaussian_limit("svd_entropy", 64, 256)])
    assert data["baseline"].unique() == pytest.approx([expected], abs=0.02)


def test_an_arm_keeps_its_colour_and_suites_do_not_repeat_one() -> None:
    palette = Palette.of([["adamw", "muon"], ["standard", "mup"], ["muon", "new", "adamw"]])
    assert palette.colour("adamw") != palette.colour("muon")
    assert palette.colour("standard") == palette.colour("adamw")
    assert len({palette.colour(a) for a in ("muon", "new", "adamw")}) == 3
    assert len({palette.marker(a) for a in ("muon", "new", "adamw")}) == 3


def test_colours_read_on_both_themes() -> None:
    palette = Palette(tuple("abcdefgh"))
    for arm in palette.arms:
        colour = palette.colour(arm)
        assert contrast(colour, PAPER) >= 3 and contrast(on_dark(colour), on_dark(PAPER)) >= 3
        for shade in palette.ramp(arm, 6):
            assert contrast(shade, PAPER) >= 1.9 and contrast(on_dark(shade), on_dark(PAPER)) >= 1.9
    assert on_dark(GRID) != GRID


def test_matrices_are_named_briefly_where_that_tells_them_apart() -> None:
    from harness.report.figures.spectra import _short_names

    assert _short_names(["blocks.0.attention.qkv.weight.query", "blocks.0.feed_forward.up.weight", "readout"]) == [
        "0 query",
        "0 up",
        "readout",
    ]
    alike = ["blocks.0.attention.up.weight", "blocks.0.feed_forward.up.weight"]
    assert _short_names(alike) == alike

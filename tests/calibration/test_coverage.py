"""`make test-statistics`: the gates of the statistics, and the committed table of what was measured."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.calibration import coverage

pytestmark = pytest.mark.statistics
SUITES = int(os.environ.get("HARNESS_STATISTICS_SUITES", "4000"))
FOLDER = Path(__file__).parents[2] / "results" / "reference" / "statistics"
SEED = 20261123


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    rows = [
        *coverage.mean_rows(SUITES, rng),
        *coverage.general_rows(SUITES, rng),
        *coverage.share_rows(SUITES // 4, rng),
        *coverage.ratio_rows(SUITES, rng, other_forms=max(SUITES // 4, 200)),
        *coverage.gpu_rows(SUITES // 4, rng),
        *coverage.drift_rows(SUITES // 4, rng),
        *coverage.slope_rows(SUITES // 4, rng),
        *coverage.selection_rows(SUITES // 4, rng),
        *coverage.sequential_rows(5 * SUITES, rng),
        *coverage.family_rows(SUITES, rng),
        *coverage.aa_rows(max(SUITES // 20, 20), rng),
    ]
    out = pd.DataFrame(rows)
    write(out)
    return out


def write(out: pd.DataFrame) -> None:
    """The table as CSV, and as Markdown for readers."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    order = [
        "rule",
        "scenario",
        "ratio",
        "sizes",
        "seeds",
        "suites",
        "coverage",
        "bias",
        "half_width",
        "oracle_half_width",
        "resolved_below",
        "inside_margin",
        "false_verdicts",
        "outside",
        "error",
        "no_answer",
    ]
    out = out.reindex(columns=order)
    out.to_csv(FOLDER / "coverage.csv", index=False, float_format="%.4g")
    lines = [
        "# Measured coverage of the statistical rules",
        "",
        f"Simulated suites, seed {SEED}, {SUITES} of them where `suites` shows no other number; written by "
        "`make test-statistics`. Nominal coverage is 95 %; `bias` is in half-widths; `oracle_half_width` is "
        "that of who knows the sampling distribution; `resolved_below` is the share whose interval lies below "
        "ratio 1 (at ratio 1: false). Noise is that of the cpu profile; the sizes of shape shocks (.03 common "
        "to the arms, .01 per arm) are assumptions.",
        "",
    ]
    for rule, rows in out.groupby("rule", sort=False):
        shown = rows.drop(columns="rule").dropna(axis=1, how="all")
        lines += [f"## {rule}", "", "| " + " | ".join(shown.columns) + " |", "|" + "---|" * len(shown.columns)]
        lines += ["| " + " | ".join(_text(c, v) for c, v in row.items()) + " |" for row in shown.to_dict("records")]
        lines.append("")
    (FOLDER / "coverage.md").write_text("\n".join(lines))


def _text(column: object, value: object) -> str:
    if isinstance(value, float):
        if not np.isfinite(value):
            return ""
        if column in ("coverage", "resolved_below", "inside_margin", "false_verdicts", "outside", "no_answer"):
            return f"{100 * value:.1f} %"
        return f"{value:.3g}"
    return str(value)


def allowed(gate: float, suites: pd.Series) -> pd.Series:
    """The gate less what chance takes from a rule that meets it exactly, at 99.9 % (many rows are gated)."""
    return gate - 3.1 * np.sqrt(gate * (1 - gate) / suites)


def gate_of(rows: pd.DataFrame) -> pd.Series:
    return pd.Series(np.where(rows.scenario == "skew", 0.91, 0.93), index=rows.index)


def test_compute_ratio_covers_in_every_scenario(table):
    rows = table[table.rule.str.startswith("compute ratio")]
    assert len(rows) > 300
    low = rows[rows.coverage < allowed(gate_of(rows), rows.suites)]
    assert low.empty, low.to_string()


def test_the_default_form_is_unbiased(table):
    rows = table[table.rule == "compute ratio, shared_power_law"]
    assert rows.bias.abs().max() < 0.1, rows[rows.bias.abs() >= 0.1].to_string()


def test_false_below_one_is_rare_at_ratio_one(table):
    rows = table[table.rule.str.startswith("compute ratio") & (table.ratio == 1)]
    assert (rows.resolved_below < 0.035 + 3.1 * np.sqrt(0.035 * 0.965 / rows.suites)).all()


def test_means_over_three_or_more_cells_cover(table):
    rows = table[table.rule.str.startswith("mean of cells") & (table.sizes >= 3)]
    low = rows[rows.coverage < allowed(gate_of(rows), rows.suites)]
    assert low.empty, low.to_string()


def test_one_cell_covers_unless_skewed(table):
    rows = table[table.rule.str.startswith("mean of cells") & (table.sizes == 1) & (table.scenario != "skew")]
    assert (rows.coverage >= allowed(0.93, rows.suites)).all()


def test_a_mean_speaks_of_sizes_only_by_its_scatter_over_sizes(table):
    rows = table[table.rule == "mean as a statement about sizes, t over cell means"]
    assert (rows.coverage >= allowed(0.93, rows.suites)).all(), rows.to_string()
    other = table[table.rule == "mean as a statement about sizes, Welch over seeds"]
    assert other[other.scenario == "arm-by-size sd 0.02"].coverage.min() < 0.85


def test_shares_cover_and_stay_between_0_and_1(table):
    rows = table[table.rule == "share over runs"]
    assert (rows.outside == 0).all()
    assert (rows.coverage >= allowed(0.93, rows.suites)).all(), rows.to_string()


def test_drift_covers(table):
    rows = table[table.rule.str.startswith("drift")]
    low = rows[rows.coverage < allowed(gate_of(rows), rows.suites)]
    assert low.empty, low.to_string()


def test_pooled_scatter_covers_and_is_narrower_than_own(table):
    pooled = table[table.rule == "slope of optima, pooled scatter"].set_index("scenario")
    own = table[table.rule == "slope of optima, own scatter"].set_index("scenario")
    assert (pooled.coverage >= allowed(0.93, pooled.suites)).all(), pooled.to_string()
    assert (pooled.half_width < own.half_width).all()
    assert sum(pooled.index.str.startswith("correlated arms")) == 4
    assert pooled.inside_margin["half octaves"] > 0.9


def test_fresh_seeds_have_no_bias_and_reused_ones_do(table):
    rows = table[table.rule == "choice of the learning rate, bias in nats"].set_index("scenario")
    assert abs(rows.error["fresh seeds"]) < 2 * rows.half_width["fresh seeds"]
    assert rows.error["best value of the selection seed"] < -0.004


def test_three_looks_keep_five_percent_and_looking_always_does_not(table):
    rows = table[table.rule.str.startswith("sequential")].set_index("rule").false_verdicts
    assert rows["sequential, three looks, spent alpha"] < 0.052
    assert rows["sequential, a look after every seed"] > 0.10


def test_family_wise_error(table):
    holm = table[table.rule == "family-wise, Holm"]
    assert (holm.false_verdicts <= 0.057).all()
    assert (table[table.rule == "family-wise, plain 5 %"].false_verdicts > 0.10).all()


def test_aa_through_the_whole_path(table):
    row = table[table.rule == "A/A through the whole path"].iloc[0]
    assert row.false_verdicts <= 0.057 + 1.64 * np.sqrt(0.057 * 0.943 / row.suites)
    assert row.coverage >= 0.93 - 3.1 * np.sqrt(0.93 * 0.07 / row.suites)

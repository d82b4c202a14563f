"""Tables: three formats of one frame, escaped, and honest about what is missing."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.report import latex, ledger, results, tables
from harness.report.labels import Labels
from harness.workload import workload_module
from tests.report.synthetic import claims

LABELS = Labels(metrics=workload_module("language_model").METRICS)
FRAME = pd.DataFrame(
    {
        "arm": ["a_b & c|d", "<b>50 %</b>"],
        "optimizer.lr": [2.0**-7, math.nan],
        "seeds": [3, 3],
        "test_loss": [1.95432, math.nan],
        "test_loss ±": [0.0621, math.nan],
        "parameters": [13824, 2.24e9],
    }
)


def test_a_mean_and_its_half_width_print_as_one_value() -> None:
    table = tables.shown("t", "T", FRAME, labels=LABELS)
    assert table.columns == (
        "arm",
        "learning rate",
        "seeds",
        "test loss (nats per token)",
        "parameters (no embedding)",
    )
    assert [c.text for c in table.rows[0]] == ["a_b & c|d", "2⁻⁷", "3", "1.95 ± 0.06", "13.8k"]
    assert [c.text for c in table.rows[1]][1:4] == ["–", "3", "–"]
    assert table.rows[0][3].sort == "1.95432"


def test_csv_keeps_full_precision(tmp_path: Path) -> None:
    tables.write(tables.shown("t", "T", FRAME, labels=LABELS), FRAME, tmp_path)
    back = pd.read_csv(tmp_path / "t.csv")
    assert back["test_loss"][0] == 1.95432 and math.isnan(back["test_loss"][1])
    assert {p.suffix for p in tmp_path.iterdir()} == {".csv", ".md", ".tex"}


def test_markdown_has_one_row_a_line_and_equal_cells() -> None:
    lines = tables.markdown(tables.shown("t", "T", FRAME, labels=LABELS)).splitlines()
    assert len(lines) == 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {6}
    assert "<b>" not in lines[3]


def test_latex_is_escaped_and_balanced() -> None:
    text = latex.render(tables.shown("t_1", "50 % & more_", FRAME, "A note − with 2⁻⁷"))
    assert r"a\_b \& c\textbar{}d" in text and r"\caption{50 \% \& more\_}" in text and "$^{-7}$" in text
    assert re.findall(r"\\begin\{(\w+)\}", text) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", text) == ["tabular", "table"]
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {4}
    assert all(ord(c) < 256 for c in text)
    assert latex.escape("\\ { } ~ ^ # $ 数") == (
        r"\textbackslash{} \{ \} \textasciitilde{} \textasciicircum{} \# \$ ?"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(built: Path, tmp_path: Path) -> None:
    body = "".join(p.read_text(encoding="utf-8") for p in sorted((built / "tables").glob("*.tex")))
    (tmp_path / "x.tex").write_text(rf"\documentclass{{article}}\begin{{document}}{body}\end{{document}}")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_results_cap_a_diverged_loss_at_the_trivial_one(inputs: dict[str, Any]) -> None:
    trials = inputs["trials"]
    trials = trials[trials["suite"] == "muon_scaling"]
    frame = results.results_frame(trials, ["size"], LABELS)
    cell = frame[(frame["arm"] == "muon_transferred") & (frame["size"] == "d24")].iloc[0]
    mine = trials[
        (trials["arm"] == "muon_transferred") & (trials["size"] == "d24") & (trials["role"] == "evaluation")
    ]
    assert cell["diverged"] == 1
    assert cell["test_loss"] == pytest.approx((mine["test_loss"].sum() + math.log(256)) / 3)
    # Bits per byte have no trivial value here: no mean over survivors.
    assert math.isnan(cell["test_bits_per_byte"])
    assert list(frame["size"].unique()) == ["d24", "d28", "d32", "d40", "d48", "d64"]


def test_failures_are_counted_with_their_reason(inputs: dict[str, Any]) -> None:
    trials = inputs["trials"]
    frame = results.failures_frame(trials[trials["suite"] == "ddcm_rate_distortion"], ["quality"])
    assert frame[["arm", "status", "reason", "trials"]].values.tolist() == [["hific", "skipped", "last line", 1]]
    ended = results.outcomes_frame(trials[trials["suite"] == "ddcm_rate_distortion"])
    assert ended.set_index("arm")["completed"].to_dict() == {"jpeg": 20, "webp": 20, "ddcm": 20, "hific": 0}


def test_the_ledger_shows_the_detectable_effect_of_what_is_unresolved_only() -> None:
    table = ledger.table(claims())
    seen = {row[4].text: row[6].text for row in table.rows}
    assert seen["unresolved at reduced scale"] == "0.058 (0.041 to 0.099) nats"
    assert {v for k, v in seen.items() if not k.startswith("unresolved")} == {"–"}
    assert len(ledger.frame(claims())) == len(claims())

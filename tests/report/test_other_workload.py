"""A workload with its own metric, unit and size axis is reported without a word about it outside its file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import harness.workloads
from harness import regression
from harness.execution.jobs import Folders
from harness.fingerprint import trial_fingerprint
from harness.planning.plan import make_plan
from harness.planning.registering import register
from harness.planning.suite import Suite
from harness.records.plans import load_rows, write_plan
from harness.records.record import Record, RecordSet
from harness.records.reference import write_reference
from harness.records.store import Store
from harness.report import gather
from harness.trial import Trial
from tests.toys import toy_ditherer

SUITE: dict[str, Any] = {
    "name": "dithering",
    "file": "dithering.yaml",
    "title": "Does dither cost quality?",
    "question": "How much does dither cost at each rate?",
    "workload": "toy_ditherer",
    "base": {},
    "axes": {"bits": {"path": "bits", "values": [2, 4, 6]}},
    "arms": {"plain": {}, "dithered": {"dither": True}},
    "seeds": 3,
    "claims": {
        "dither_costs": {
            "says": "Dither costs peak signal-to-noise ratio.",
            "source": "this test",
            "kind": "direction",
            "estimator": {
                "name": "mean_difference", "arm": "dithered", "baseline": "plain",
                "metric": "peak_ratio",
            },
            "expects": {"below": 0.0},
            "confirmatory": True,
        }
    },
    "figures": [
        {"kind": "metric_against_axis"},
        {"kind": "metric_against_metric", "x": "bits_per_sample", "y": "peak_ratio"},
        {"kind": "metric_by_arm"},
    ],
}  # fmt: skip


def ran(trial: Trial, lost: float = 0.0, **fields: Any) -> Record:
    """The record that the toy codec leaves; ``lost``: dB that a change of its code costs."""
    outcome = toy_ditherer.run(trial, toy_ditherer.Config.model_validate(trial.config), None)
    metrics = {**outcome.metrics, "peak_ratio": (outcome.metrics["peak_ratio"] or 0.0) - lost}
    return Record.model_validate({
        "trial": trial.model_dump(), "status": "completed", "metrics": metrics, **fields,
        "fingerprint": trial_fingerprint(trial), "numerics_class": "toy",
    })  # fmt: skip


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the toy codec known as a workload."""
    folder = str(Path(toy_ditherer.__file__).parent)
    monkeypatch.setattr(harness.workloads, "__path__", [*harness.workloads.__path__, folder])


@pytest.fixture
def built(codec: None, tmp_path: Path) -> gather.Built:
    """The report of a run of the toy codec."""
    store, records = Store(tmp_path), RecordSet()
    (suite,), under = register([Suite.model_validate(SUITE)], store)
    for item in make_plan(suite, records, None).pending:
        record = ran(item.planned.trial, registrations=under[suite.key].of(item.planned))
        store.write(record)
        records.add(record)
    write_plan(store, suite.name, suite.profile, make_plan(suite, records, None).as_dict())
    return gather.report(tmp_path, "cpu", ["dithering"])


def test_its_metrics_stand_in_the_results_with_label_and_unit(built: gather.Built) -> None:
    frame = pd.read_csv(built.folder / "tables" / "dithering_results.csv")
    assert list(frame.columns) == [
        "arm", "bits", "seeds", "diverged", "peak_ratio", "peak_ratio ±", "bits_per_sample", "bits_per_sample ±",
    ]  # fmt: skip
    assert sorted(frame["bits"].unique()) == [2, 4, 6]
    page = (built.folder / "index.html").read_text(encoding="utf-8")
    heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]+)</th>", page)
    assert "peak signal-to-noise ratio (dB)" in heads and "rate (bits a sample)" in heads
    assert (built.folder / "tables" / "dithering_noise.csv").is_file()


def test_figures_run_over_its_axis_and_show_its_main_metric(built: gather.Built) -> None:
    figures = json.loads((built.folder / "report.json").read_text(encoding="utf-8"))["suites"][0]["figures"]
    assert [f["kind"] for f in figures if "missing" not in f] == [f["kind"] for f in SUITE["figures"]]
    page = (built.folder / "index.html").read_text(encoding="utf-8")
    assert page.count("<h4>Peak signal-to-noise ratio (dB)</h4>") == 3
    assert figures[0]["alt"].startswith("Line chart of peak signal-to-noise ratio (dB) against bits.")
    assert "against rate (bits a sample)" in figures[1]["alt"]
    assert "at bits 6" in figures[2]["alt"]


def test_its_claim_is_judged_and_said_in_its_unit(built: gather.Built) -> None:
    (claim,) = built.claims
    assert claim["verdict"] == "holds_at_reduced_scale" and claim["num_sizes"] == 3
    # No parameters and no corpus: the sentence has neither, and is whole all the same.
    assert re.fullmatch(
        r"Dither costs peak signal-to-noise ratio: holds at reduced scale \(3 sizes × 3 fresh seeds\): "
        r"−[\d.]+ \[−[\d.]+, −[\d.]+\] dB\.",
        claim["sentence"],
    )


def test_nothing_outside_its_file_names_it() -> None:
    root = Path(harness.workloads.__file__ or "").parents[1]
    words = re.compile(r"peak_ratio|bits_per_sample|toy_ditherer")
    assert [f for f in root.rglob("*.py") if words.search(f.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(("lost", "status"), [(0.0, "identical"), (3.0, "regression"), (-3.0, "improvement")])
def test_the_gate_judges_it_by_its_own_metric_and_its_own_good(
    built: gather.Built, tmp_path: Path, lost: float, status: str
) -> None:
    store, suite = Store(tmp_path), Suite.model_validate(SUITE)
    plan, rows = load_rows(store, suite.name, "cpu")
    write_reference(store, suite.name, "cpu", plan, rows)

    def head(jobs: Any) -> dict[str, Record]:
        # Not the same everywhere: else there would be no scatter to judge by.
        return {j.trial.identity: ran(j.trial, lost * (1 + 0.01 * (j.trial.seed % 7))) for j in jobs}

    found = regression.gate([suite], store, head, Folders(data=tmp_path, work=tmp_path))
    assert {j.arm: j.status for j in found.judgements} == {"plain": status, "dithered": status}
    assert all(j.metric == ("peak_ratio" if lost else "") for j in found.judgements)

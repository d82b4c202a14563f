"""A report from 1,000 records of one suite with its usual figures; the issue asks for under 10 s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.report.build import build_report
from tests.report import synthetic


def thousand() -> dict[str, Any]:
    """muon_scaling alone, enough seeds for a thousand records."""
    inputs = synthetic.everything(seeds=47)
    trials = inputs["trials"]
    trials = trials[trials["suite"] == "muon_scaling"].head(1000)
    curves = inputs["curves"][inputs["curves"]["identity"].isin(trials["identity"])]
    probes = inputs["probes"][inputs["probes"]["identity"].isin(trials["identity"])]
    claims = [c for c in inputs["claims"] if c["suite"] == "muon_scaling"]
    return {
        **inputs,
        "suites": inputs["suites"][:1],
        "trials": trials,
        "curves": curves,
        "probes": probes,
        "claims": claims,
    }


@pytest.mark.benchmark(min_rounds=2, max_time=1, warmup=True)
def bench_report_of_a_thousand_records(benchmark: Any, tmp_path: Path) -> None:
    inputs = thousand()
    assert len(inputs["trials"]) == 1000
    benchmark(lambda: build_report(tmp_path, **inputs))

"""From rows to what the report is given: what a claim rests on, in words that are true of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd

from harness import data
from harness.data import commands
from harness.records.record import Row
from harness.records.store import Store
from harness.report import gather
from harness.report.labels import Labels
from harness.trial import Trial
from harness.workload import Metric, workload_module

MODEL = {
    "model": {"width": 16, "depth": 1}, "training": {"steps": 2}, "optimizer": {"name": "adamw", "lr": 0.01}
}  # fmt: skip


def row(config: dict[str, Any], arm: str = "a", digest: str = "") -> Row:
    trial = Trial(workload="language_model", seed=0, config={**MODEL, **config}, data=digest)
    planned: Any = SimpleNamespace(trial=trial, arm=arm)
    return Row(planned, None)


def test_a_corpus_is_named_as_its_workload_reads_it() -> None:
    assert gather.corpus_of([row({})], {}) == "python sources"
    assert gather.corpus_of([row({}), row({"data": {"path": "texts/my_book.txt"}})], {}) == (
        "python sources and my book.txt"
    )


def test_a_trial_that_keeps_its_datas_digest_alone_is_named_by_its_suite() -> None:
    """An identified trial's config says no more where its data come from: the default is not what it read."""
    arms = {"a": {}, "b": {"data": {"path": "other.txt"}}}
    mine = {"base": {"data": {"path": "texts/my_book.txt"}}, "arms": arms}
    assert gather.corpus_of([row({}, digest="1")], mine) == "my book.txt"
    assert gather.corpus_of([row({}, digest="1"), row({}, "b", "2")], mine) == "my book.txt and other.txt"


def test_a_config_of_other_code_names_no_corpus() -> None:
    assert gather.corpus_of([row({"model": {"gone": 1}})], {}) == ""


def test_the_scale_of_a_claim_is_that_of_its_own_trials() -> None:
    trials = pd.DataFrame({"identity": ["a", "b", "c"], "parameters": [1e4, 2e4, 9e6]})
    labels = Labels(metrics={"parameters": Metric(label="parameters")})
    said = gather._models({"identities": ["a", "b"]}, trials, labels, "python sources")
    assert said == "10k to 20k parameters, python sources"
    assert gather._models({"identities": []}, trials, labels, "python sources") == ""
    assert gather._models({"identities": ["a"]}, trials, Labels(), "") == ""


def test_workloads_are_asked_for_their_metrics_without_torch() -> None:
    assert workload_module("language_model").METRICS["test_loss"].cap == "trivial_loss"


def test_what_of_the_held_out_text_stands_in_train_too_is_found_in_the_corpora_that_lie_here(tmp_path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("\n\n".join(f"same\nfour\nlines\nhere\nthen {i}\nother {i * i}" for i in range(4000)))
    spec = {"path": str(text), "split_by": "position"}
    commands.build(spec, tmp_path)
    digest = data.digest(spec, tmp_path)
    planned: Any = SimpleNamespace(trial=Trial(workload="language_model", seed=0, config=MODEL, data=digest))
    rows, here, elsewhere = [Row(planned, None)] * 2, SimpleNamespace(data=tmp_path), Store(tmp_path / "no")
    assert gather.corpora_of(rows, elsewhere) == []
    (found,) = gather.corpora_of(rows, here)  # type: ignore[arg-type]
    assert found["name"] == "mine.txt" and found["lines"] == 4 and 0 < found["test"] < 1

"""`harness check`: every shipped suite is fine at every profile, and each kind of mistake is found unrun."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SuiteError
from harness.planning import checks, compose
from harness.report import figures

CASES = [
    (name, profile)
    for name in compose.shipped()
    for profile in compose.PROFILES
    if f"\n  {profile}:" in (compose.shipped_folder() / f"{name}.yaml").read_text()
    or "shared/muon_trials" in (compose.shipped_folder() / f"{name}.yaml").read_text()
]


@pytest.mark.parametrize(("name", "profile"), CASES)
def test_shipped_suites_are_fine(name, profile):
    suite = compose.load(name, profile)
    assert checks.check_suite(suite) == [] == figures.problems(suite.figures, suite.file)


@pytest.mark.parametrize(("override", "message"), [
    ("+claims.compute_ratio.estimator.bseline=adamw", "bseline"),
    ("claims.compute_ratio.estimator.arm=muonn", "unknown arm 'muonn'"),
    ("+claims.compute_ratio.expect=1", "expect"),
    ("figures=[{kind: loss_against_rl}]", "Did you mean 'loss_against_lr'"),
    ("+probes.spectre={}", "Did you mean 'spectra'"),
    ("+probes.spectra={sampels: 3}", "Did you mean 'samples'"),
    ("base.model.head_width=7", "head_width"),
    ("base.training.schedule=cosin", "schedule"),
    ("tuning.budget=3", "raise tuning.budget"),
    ("arms.adamw.optimizer.weight_decay=-1", "weight_decay"),
    ("use.size=[d24,d32]", "compute_ratio"),
])
def test_mistakes_are_found_without_running(override, message):
    try:
        suite = compose.load("muon_scaling", "cpu", [override])
        problems = [*checks.check_suite(suite), *figures.problems(suite.figures, suite.file)]
    except SuiteError as error:
        problems = [str(error)]
    assert any(message in p for p in problems), problems


@pytest.mark.parametrize(("override", "key"), [
    ("+base.data.path=no/such.txt", "data.path: no/such.txt: no such file or folder"),
    ("+base.data={path: %s, test: gone.txt}", "data.test: gone.txt: no such file or folder"),
])
def test_missing_data_is_found_without_building_any(tmp_path, monkeypatch, override, key):
    there = tmp_path / "there.txt"
    there.write_text("text")
    monkeypatch.setattr("harness.data.digest", lambda *_: pytest.fail("data was read"))
    for wanted, text in ((True, override), (False, f"+base.data.path={there}")):
        suite = compose.load("muon_scaling", "cpu", [text % there if "%s" in text else text])
        assert any(key in p and "suites/muon_scaling.yaml" in p for p in checks.check_suite(suite)) == wanted


def test_the_plan_says_what_it_could_see():
    lines = checks.expected_effects(compose.load("muon_scaling", "cpu"), Path("/nonexistent"))
    assert any("compute_ratio" in line and "6 sizes x 3 seeds" in line for line in lines)
    assert checks.expected_effects(compose.load("muon_scaling", "smoke")) == ["profile smoke gives no verdict"]

"""An override that changes no trial is an error that says what wins; every leaf of a suite is typed."""

import pytest

from harness.errors import HarnessError, SuiteError
from harness.planning.compose import load
from harness.planning.idle import load_checked
from harness.planning.plan import make_plan
from harness.records.record import RecordSet
from tests.planning.texts import GOOD

TUNED = GOOD + """
tuning: {space: {optimizer.lr: {log2: [-9, -6]}}, budget: 8}
"""


@pytest.fixture
def mine(tmp_path):
    def write(text=TUNED):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("arms.adamw.optimizer.lr=0.01", r"changes no trial .*mine\.yaml:\d+: key 'tuning\.space' sets"),
        ("base.model.width=-5", r"mine\.yaml:\d+: key 'axes\.size' sets it and wins"),
        ("+base.optimizer.lr=0.5", r"key 'tuning\.space' sets it and wins"),
    ],
)
def test_an_override_without_effect_names_the_line_that_wins(mine, override, message):
    with pytest.raises(SuiteError, match=message) as told:
        load_checked(mine(), "cpu", [override])
    assert repr(override) in str(told.value)


def test_an_arm_that_the_profile_does_not_run_is_said():
    with pytest.raises(SuiteError, match="it does not run arm 'muon_fused'; it runs adamw"):
        load_checked("muon_scaling", "cpu", ["arms.muon_fused.optimizer.momentum=0.5"])


@pytest.mark.parametrize(
    "override",
    ["base.training.batch_size=8", "+arms.adamw.optimizer.beta1=0.8", "+arms.adamw.seeds=2", "seeds=3", "title=X",
     "base.training.batch_size=4"],
)  # fmt: skip
def test_an_override_with_effect_or_of_the_same_value_passes(mine, override):
    assert load_checked(mine(), "cpu", [override]).name == "mine"


def test_an_arm_that_takes_anothers_hyperparameters_may_be_overridden():
    over = ["arms.muon_transferred.optimizer.momentum=0.9"]
    assert load_checked("muon_scaling", "cpu", over).arms["muon_transferred"].patch["optimizer"]["momentum"] == 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "timing: {repeat: 3}\n", "unknown key 'repeat'. Did you mean 'repeats'"),
        (GOOD + "timing: {repeats: -1}\n", "timing.repeats.*greater than or equal to 0"),
        (GOOD.replace("0.001}", "0.001}, hyperparameters: {form: a}"), "unknown key 'form'. Did you mean 'from'"),
        (GOOD.replace("seeds: 3", "seeds: 1000000"), "seeds.*less than or equal to 1000"),
        (TUNED.replace("budget: 8", "budget: 8, metric: val_loss"), "unknown metric 'val_loss'.*'validation_loss'"),
        (GOOD.replace("steps: 2", "steps: 100000000000000000000"), "training.steps.*less than or equal to"),
        (GOOD.replace("lr: 0.001}", "lr: 0.001, beta1: hi}"), "'adamw', key 'beta1'.*'hi'"),
        (GOOD.replace("head_width: 8", "head_width: 8, base_width: 12"), "12"),
    ],
)  # fmt: skip
def test_every_leaf_is_typed(mine, text, message):
    with pytest.raises(HarnessError, match=message) as told:
        make_plan(load(mine(text)), RecordSet(), None)
    assert "mine.yaml" in str(told.value)

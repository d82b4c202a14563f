"""`harness compare`'s suite: one more arm, tuned like the others, and claims of its difference to each."""

from __future__ import annotations

import dataclasses

import pytest

from harness.analysis.claims import load_claims
from harness.commands._new_arm import search_space, with_method
from harness.errors import HarnessError, PluginError
from harness.planning import compose


@pytest.fixture(scope="module")
def base():
    return compose.load("muon_scaling", "cpu")


def test_the_new_arm_is_the_first_with_its_own_method_and_space(base):
    found = with_method(base, "optimizer", "sgd", ["adamw"])
    assert found.name == "muon_scaling_with_sgd"
    assert found.arms["sgd"].patch["optimizer"] == {"name": "sgd"}
    assert list(found.active_arms) == ["adamw", "sgd"]
    assert found.tuning == base.tuning
    assert found.arms["adamw"] == base.arms["adamw"], "so that its trials are the cached ones"


def test_every_rival_has_its_claims_in_the_words_of_the_workload(base):
    found = with_method(base, "optimizer", "sgd", ["adamw", "muon"])
    assert set(found.claims) == {f"sgd_{c}_{r}" for c in ("below", "compute_ratio") for r in ("adamw", "muon")}
    claims = {c.id: c for c in load_claims(found.claims, "here")}
    assert claims["sgd_below_adamw"].confirmatory and not claims["sgd_compute_ratio_adamw"].confirmatory
    assert claims["sgd_below_adamw"].says.startswith("sgd ends below adamw's test loss")
    assert claims["sgd_below_adamw"].estimator["metric"] == "test_loss"


def test_with_few_sizes_no_ratio_of_compute_is_claimed():
    few = compose.load("muon_scaling", "cpu", ["use.size=[d16,d24]", "claims={}", "figures=[]"])
    assert set(with_method(few, "optimizer", "sgd", ["adamw"]).claims) == {"sgd_below_adamw"}


def test_arms_whose_values_the_rivals_take_run_too(base):
    rival = next(name for name, arm in base.arms.items() if arm.hyperparameters)
    found = with_method(base, "optimizer", "sgd", [rival])
    assert base.arms[rival].hyperparameters["from"] in found.active_arms


@pytest.mark.parametrize(("kind", "name", "against", "message"), [
    ("optimizer", "sgd", ["adamv"], "--against: unknown arm 'adamv'. Did you mean 'adamw'"),
    ("optimizer", "adamw", [], "has an arm 'adamw' already; rename"),
    ("rank", "rankme", [], "your method is a rank"),
])  # fmt: skip
def test_what_cannot_be_compared_is_said(base, kind, name, against, message):
    with pytest.raises(HarnessError, match=message):
        with_method(base, kind, name, against)


def method(space):
    return dataclasses.make_dataclass("Method", [("lr", float, 1.0)], namespace={"search_space": space})


@pytest.mark.parametrize(("space", "message"), [
    ({"learning_rate": (0.1, 1, "log2")}, "no field 'learning_rate'; fields: ['lr']"),
    ({"lr": (0.1, 1, "linear")}, "field 'lr': scale 'linear'; valid: 'log2'"),
])  # fmt: skip
def test_a_search_space_that_means_nothing_is_named(space, message):
    with pytest.raises(PluginError) as error:
        search_space(method(space), "optimizer")
    assert message in str(error.value)


def test_a_search_space_becomes_exponents_of_two():
    found = search_space(method({"lr": (2**-12, 2**-8, "log2")}), "optimizer")
    assert found == {"optimizer.lr": {"log2": [-12, -8]}}

"""Estimators are found by file and say their own facts."""

import ast
from pathlib import Path

import numpy as np
import pytest

import harness.analysis
from harness.analysis import lookup
from harness.analysis.registry import REGISTRY, Design, Facts, estimator
from harness.errors import ClaimError, UnknownNameError
from tests.analysis.records import evidence, sweep, trials

ANALYSIS = Path(harness.analysis.__path__[0])


def test_every_estimator_has_a_first_line_and_the_unknown_one_a_hint():
    assert {"compute_ratio", "mean_difference", "optimum_slope", "transfer_gap", "share_by_seed"} <= set(
        lookup.names()
    )
    assert all(lookup.names().values())
    with pytest.raises(UnknownNameError, match="Did you mean 'mean_difference'"):
        lookup.find("mean_diference")


def test_every_file_of_estimators_is_found():
    files = {f.stem for f in (ANALYSIS / "estimators").glob("*.py")} - {"__init__"}
    lookup.names()
    assert {e.function.__module__.rpartition(".")[2] for e in REGISTRY.values()} == files


def test_no_other_file_of_the_analysis_names_an_estimator():
    names = set(lookup.names())
    for file in ANALYSIS.glob("*.py"):
        strings = {
            n.value
            for n in ast.walk(ast.parse(file.read_text()))
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        }
        assert not strings & names, file.name


def test_two_estimators_of_one_name_are_our_mistake():
    def mean_difference(evidence): ...

    lookup.names()
    with pytest.raises(AssertionError, match="two estimators named mean_difference"):
        estimator(Facts(df=lambda design: 1.0))(mean_difference)


PAIR = {"arm": "muon", "baseline": "adamw"}
PLANS = {
    "compute_ratio": (trials(), PAIR),
    "ratio_drift": (trials(sd=0.001), PAIR),
    "mean_difference": (trials(), PAIR),
    "mean_ratio": (trials(), {**PAIR, "metric": "test_loss"}),
    "mean_value": (trials(), {"arm": "muon", "metric": "test_loss"}),
    "axis_slope": (sweep({"mup": 0.0}, sd=0.02), {"arm": "mup", "metric": "validation_loss"}),
    "transfer_gap": (sweep({"mup": 0.0}), {"arm": "mup"}),
    "optimum_slope": (sweep({"mup": 0.0}), {"arm": "mup", "pool": ["mup"]}),
    "identity_bound": (trials(), {"arm": "muon", "value": "flops_optimizer", "bound": "flops_model"}),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_degrees_of_freedom_of_a_plan_are_those_of_the_estimate(name):
    table, arguments = PLANS[name]
    axis = "size" if "size" in table else "width"
    design = Design(sizes=table[axis].nunique(), seeds=table["seed"].nunique(), arguments=arguments)
    found = lookup.run(evidence(table), {"name": name, **arguments})
    assert found.parts[0].df == pytest.approx(lookup.facts(name).df(design))


@pytest.mark.parametrize("across", [None, True, False])
@pytest.mark.parametrize("sizes", [2, 6])
def test_a_plan_knows_which_interval_of_a_mean_is_judged(sizes, across):
    table = trials(sizes=tuple(f"d{i}" for i in range(sizes)))
    # The same noise in every cell, so that Welch-Satterthwaite has all degrees of freedom.
    table["test_loss"] = np.where(table.arm == "muon", 0.1 * table.seed**2, 0.0) + table.flops / 1e13
    arguments = {**PAIR, "across_sizes": across}
    table.loc[table.arm == "muon", "test_loss"] += table.groupby("size").ngroup() / 10
    found = lookup.run(evidence(table), {"name": "mean_difference", **arguments})
    design = Design(sizes=sizes, seeds=3, arguments=arguments)
    assert found.parts[0].df == pytest.approx(lookup.facts("mean_difference").df(design))


def test_least_sizes_are_those_below_which_an_estimator_refuses():
    for name in ("compute_ratio", "ratio_drift"):
        least = lookup.facts(name).least_sizes
        assert lookup.run(evidence(trials(sizes=tuple("abcdefgh"[:least]), sd=0.001)), {"name": name, **PAIR})
        with pytest.raises(ClaimError, match=f"run at least {least} sizes"):
            lookup.run(evidence(trials(sizes=tuple("abcdefgh"[: least - 1]))), {"name": name, **PAIR})
    for name in ("optimum_slope", "transfer_gap"):
        least = lookup.facts(name).least_sizes
        table = sweep({"mup": 0.0}, widths=(32, 64, 128, 256)[: least - 1])
        with pytest.raises(ClaimError):
            lookup.run(evidence(table), {"name": name, "arm": "mup"})

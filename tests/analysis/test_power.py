from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from harness.analysis.claims import load_claims
from harness.analysis.noise import noise_table
from harness.analysis.power import SuiteFacts, check_claim, facts_of, noise_of_claim, planned_power
from harness.errors import ClaimError, UnknownNameError
from tests.analysis.records import claim, trials

DIFFERENCE = {"name": "mean_difference", "arm": "muon", "baseline": "adamw"}


def made(**fields):
    return load_claims({"ratio": claim(**fields)})[0]


def facts(sizes=6, seeds=3, **fields):
    return SuiteFacts(
        sizes={"muon": sizes, "adamw": sizes},
        seeds={"muon": seeds, "adamw": seeds},
        all_arms=("muon", "adamw", "lion"),
        **fields,
    )


def test_a_plan_that_can_answer_passes():
    check_claim(made(), facts())


@pytest.mark.parametrize(
    ("fields", "plan", "message"),
    [
        ({}, {"sizes": 3}, "compute_ratio needs 4 sizes, 3 are planned"),
        ({"estimator": {**DIFFERENCE, "test": "sign_flip"}}, {"sizes": 1, "seeds": 5}, "cannot go below p = 0.062"),
        (
            {"estimator": {**DIFFERENCE, "test": "sign_flip"}},
            {"sizes": 1, "seeds": 6, "num_confirmatory": 3},
            "plan 7 pairs",
        ),
        ({"estimator": DIFFERENCE}, {"seeds": 1}, "has 0 degrees of freedom"),
        ({"estimator": {"name": "optimum_slope", "arm": "muon"}}, {"sizes": 2}, "needs 3 sizes, 2 are planned"),
        ({"estimator": {**DIFFERENCE, "arm": "lion"}}, {}, "profile cpu does not run arm 'lion'"),
    ],
)
def test_a_plan_that_cannot_answer_is_refused(fields, plan, message):
    with pytest.raises(ClaimError, match="claim 'ratio'") as error:
        check_claim(made(**fields), facts(**plan))
    assert message in str(error.value)


def test_unknown_arms_get_a_hint_and_postponed_claims_are_not_checked():
    with pytest.raises(UnknownNameError, match="Did you mean 'muon'"):
        check_claim(made(estimator={**DIFFERENCE, "arm": "moun"}), facts())
    check_claim(made(needs_profile="gpu"), facts(sizes=1))
    check_claim(made(), facts(sizes=1, profile="smoke"))


def test_planned_effects_match_the_measured_ones():
    """MDE in nats at a paired sd of .033: .055 (1 cell x 5 seeds), .030 (4 x 3), .015 (4 x 10), of these sizes."""
    noise = pd.DataFrame(
        {"cell": ["a"], "arm": ["muon"], "n": [9], "mean": [1.9], "sd": [0.03], "sd_difference": [0.033]}
    )
    c = made(estimator={**DIFFERENCE, "across_sizes": False}, expects={"below": 0})
    for sizes, seeds, effect in ((1, 5, 0.055), (4, 3, 0.030), (4, 10, 0.015)):
        assert planned_power(c, sizes, seeds, noise).effect == pytest.approx(effect, abs=0.001)


def test_an_equivalence_margin_of_a_hundredth_needs_about_120_pairs():
    noise = pd.DataFrame(
        {"cell": ["a"], "arm": ["muon"], "n": [9], "mean": [1.9], "sd": [0.03], "sd_difference": [0.033]}
    )
    c = made(
        kind="equivalence",
        estimator=DIFFERENCE,
        expects={"within": [-0.01, 0.01]},
        margin={"nats": 0.01, "compute": 0.05},
        published=None,
    )
    enough = next(
        n for n in range(2, 400) if planned_power(c, 1, n, noise) and planned_power(c, 1, n, noise).margin <= 0.01
    )
    assert enough == pytest.approx(120, abs=15)


def test_the_planned_ratio_is_near_the_measured_half_width():
    """STATISTICS 4: half-width .16 in ln ratio at 6 sizes x 3 seeds."""
    from scipy import stats

    from harness.analysis.verdicts import detectable_factor

    se = planned_power(made(), 6, 3).effect / detectable_factor(5)
    assert se * stats.t.ppf(0.975, 5) == pytest.approx(0.16, abs=0.05)


def test_a_gpu_plan_expects_a_gpus_noise():
    assert planned_power(made(), 6, 3, profile="gpu").effect < 0.5 * planned_power(made(), 6, 3).effect


def test_a_committed_noise_table_is_used():
    table = noise_table(trials({"adamw": 1, "muon": 1}, sd=0.003), baseline="adamw", by=["size"])
    c = made(estimator=DIFFERENCE, expects={"below": 0})
    assert planned_power(c, 6, 3, table).effect < 0.3 * planned_power(c, 6, 3).effect
    assert planned_power(c, 1, 3, table) is None  # two degrees of freedom
    # What a size adds, which seeds do not show, is read off the cells' means.
    table.loc[table.arm == "muon", "mean"] += 0.05 * np.array([1, -1, 1, -1, 1, -1])
    assert planned_power(c, 6, 3, table).effect > planned_power(c, 6, 3).effect


def test_the_noise_is_that_of_the_claims_own_metric():
    table = trials(sd=0.003, psnr=lambda t: 30 + t.seed % 2)
    quality = made(estimator={**DIFFERENCE, "metric": "psnr"}, expects={"below": 0})
    assert noise_of_claim(quality, table, ["size"])["mean"].min() > 30
    assert noise_of_claim(made(), table, ["size"])["mean"].max() < 3
    assert noise_of_claim(made(estimator={**DIFFERENCE, "metric": "bits"}, expects={"below": 0}), table, []) is None


def test_facts_of_a_suite():
    arms = {name: SimpleNamespace(timing_only=False, seeds=None) for name in ("muon", "adamw")}
    suite = SimpleNamespace(
        active_arms=arms,
        arms={**arms, "lion": None},
        seeds=3,
        profile="cpu",
        sweep=None,
        axes={"size": None},
        cells=lambda arm: [({"size": s}, {}) for s in ("d24", "d32")],
        claims={
            "a": claim(),
            "b": claim(needs_profile="gpu"),
            "c": claim(kind="identity"),
            "d": claim(confirmatory=False),
        },
    )
    found = facts_of(suite)
    assert found.sizes == {"muon": 2, "adamw": 2}
    assert found.num_confirmatory == 1
    assert "lion" in found.all_arms

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.analysis.claims import CLAIM_FIELDS, load_claims, tables_read
from harness.analysis.claims import evaluate_claims as evaluate
from harness.errors import ClaimError, HarnessError, SuiteError, UnknownNameError
from harness.wording import banned_in
from harness.workload import Metric
from tests.analysis.records import METRICS, SIZES, claim, sweep, trials

FIELDS = [
    "id", "suite", "says", "source", "kind", "expects", "estimate", "ci95", "df", "p_holm", "num_sizes",
    "num_seeds", "num_trials", "seed_sd", "profile", "scope", "scale_factor", "verdict",
    "minimum_detectable_effect", "estimators_agree", "registration", "inside_region",
]  # fmt: skip
DIFFERENCE = {"name": "mean_difference", "arm": "muon", "baseline": "adamw"}


def evaluate_claims(claims, table, **arguments):
    return evaluate(claims, table, **{"size_axis": "size", "metrics": METRICS, **arguments})


def answer(table=None, profile="cpu", **fields):
    found = evaluate_claims(
        load_claims({"ratio": claim(**fields)}), trials() if table is None else table, profile=profile
    )
    return found[0].as_dict()


def test_a_clear_ratio_holds_at_reduced_scale():
    d = answer()
    assert list(CLAIM_FIELDS) == FIELDS
    assert list(d)[: len(FIELDS)] == FIELDS
    json.dumps(d, allow_nan=False)
    assert d["verdict"] == "holds_at_reduced_scale"
    assert d["scope"] == "reduced"
    assert d["ci95"][0] < 0.6 < d["ci95"][1] < 1
    assert d["df"] == 5
    assert (d["num_sizes"], d["num_seeds"], d["num_trials"]) == (6, 3, 36)
    assert d["scale_factor"] == pytest.approx(1.5e9 / (14e3 * 32))
    assert len(d["identities"]) == 36
    assert {r["form"] for r in d["forms"]} == {"shared_power_law", "shared_law_with_floor", "fit_free"}
    assert d["ran_at"]["parameters"] == [14e3, 14e3 * 32]
    assert d["made_at"]["parameters"] == [399e6, 1.5e9]
    assert d["short_of_published"] == ["parameters", "tokens", "tuning"]
    low, high = d["ci95"]
    assert d["se"] == pytest.approx(d["estimate"] * np.log(high / low) / 2 / stats.t.ppf(0.975, 5))
    assert (d["inside_region"], d["no_verdict_reason"], d["registration"]) == (True, None, None)


def test_a_worse_arm_fails_at_reduced_scale_and_is_never_contradicted():
    d = answer(trials({"adamw": 1.0, "muon": 2.0}))
    assert d["verdict"] == "fails_at_reduced_scale"
    assert d["inside_region"] is False


def test_at_the_published_scale_it_is_reproduced_and_compared_with_the_published_value():
    made = {"parameters": [14e3, 448e3], "tokens": [280e3, 9e6], "same_tuning": True}
    d = answer(trials(sd=0.001), made_at=made, published={"value": 0.6, "interval": [0.58, 0.62]})
    assert (d["scope"], d["verdict"]) == ("published", "reproduced")
    assert d["published"]["agreement"] == "agrees"
    assert answer(made_at={**made, "same_tuning": False})["scope"] == "reduced"
    assert answer(made_at={**made, "parameters": 14e3 / 3.1})["scope"] == "reduced"
    assert answer(made_at={**made, "same_tuning": ["gpu", "paper"]})["short_of_published"] == ["tuning"]
    assert answer(made_at={**made, "same_tuning": ["gpu", "cpu"]})["scope"] == "published"
    assert answer(made_at={**made, "same_tuning": ["gpu"]}, profile="gpu")["scope"] == "published"
    assert answer(made_at={**made, "tokens": None})["short_of_published"] == ["tokens"]
    assert "agreement" not in answer()["published"]


def test_the_estimate_does_not_depend_on_the_order_of_rows():
    table = trials()
    a, b = answer(table), answer(table.sample(frac=1, random_state=0).reset_index(drop=True))
    assert a["estimate"] == pytest.approx(b["estimate"])
    assert a["ci95"] == pytest.approx(b["ci95"])


def test_unresolved_says_what_could_have_been_seen():
    d = answer(trials({"adamw": 1.0, "muon": 0.97}, sd=0.03))
    assert d["verdict"] == "unresolved"
    assert "a ratio of compute below" in d["detectable"]["text"]
    assert d["minimum_detectable_effect"] > 0


def test_holm_runs_over_the_confirmatory_claims_only():
    table = trials({"adamw": 1.0, "muon": 0.9}, sd=0.02)
    one = {"a": claim(estimator=DIFFERENCE, expects={"below": 0}, published=None)}
    alone = evaluate_claims(load_claims(one), table, profile="cpu")[0]
    null = claim(estimator=DIFFERENCE, expects={"below": alone.estimate.parts[0].value}, published=None)
    four = evaluate_claims(
        load_claims({**one, "b": null, "c": null, "d": {**null, "confirmatory": False}}), table, profile="cpu"
    )
    assert four[0].p_holm == pytest.approx(min(1, 3 * alone.p_holm))
    assert four[3].p_holm is None
    assert four[3].verdict is None
    assert four[3].as_dict()["no_verdict_reason"] == "descriptive"


def test_a_refused_claim_keeps_its_place_in_the_family():
    table = trials()
    one = {"a": claim(estimator=DIFFERENCE, expects={"below": 0}, published=None)}
    alone = evaluate_claims(load_claims(one), table, profile="cpu")[0]
    gone = claim(estimator={**DIFFERENCE, "arm": "lion"}, expects={"below": 0})
    both = evaluate_claims(load_claims({**one, "b": gone}), table, profile="cpu")
    assert both[0].p_holm == pytest.approx(2 * alone.p_holm)
    assert "'lion' has no evaluation records" in both[1].refused
    later = evaluate_claims(load_claims({**one, "b": {**gone, "needs_profile": "gpu"}}), table, profile="cpu")
    assert later[0].p_holm == pytest.approx(alone.p_holm)
    assert later[1].refused.startswith("needs gpu")


def test_resolved_before_correction_is_said():
    table = trials({"adamw": 1.0, "muon": 1.0}, sizes=("d24",), seeds=6, sd=0)
    table.loc[table.arm == "muon", "test_loss"] += [-0.09, -0.01, -0.06, 0.01, -0.07, -0.05]
    raw = {n: claim(estimator=DIFFERENCE, expects={"below": 0}, published=None) for n in "abcde"}
    for n in "bcde":
        raw[n]["expects"] = {"below": -0.045}
    found = evaluate_claims(load_claims(raw), table, profile="cpu")[0]
    plain = 2 * min(found.p_hold, found.p_fail)
    assert plain < 0.05 < found.p_holm
    assert found.resolved_before_correction


def test_a_verdict_that_hangs_on_one_size_is_unresolved():
    rng = np.random.default_rng(0)
    table = trials({"adamw": 1.0, "muon": 1.0}, sizes=SIZES[:3], sd=0)
    noise = 0.001 * rng.standard_normal(len(table))
    table["test_loss"] += noise + np.where((table.arm == "muon") & (table["size"] == "d24"), -0.2, 0.0)
    table.loc[(table.arm == "muon") & (table["size"] != "d24"), "test_loss"] += 0.01
    d = answer(table, estimator=DIFFERENCE, expects={"below": 0}, published=None)
    assert d["p_holm"] < 0.05
    assert d["verdict"] == "unresolved"
    assert d["depends_on"] == "size d24"


def test_smoke_gives_no_verdict():
    d = answer(profile="smoke")
    assert (d["verdict"], d["refused"]) == (None, "plumbing: no verdict")
    assert d["estimate"] is not None


def test_smoke_says_plumbing_even_where_sizes_are_too_few():
    d = answer(trials(sizes=SIZES[:2]), profile="smoke")
    assert (d["verdict"], d["refused"]) == (None, "plumbing: no verdict")
    assert any("2 sizes" in n for n in d["notes"])


def test_an_identity_is_judged_at_any_scale_without_correction():
    bound = {"name": "identity_bound", "arm": "muon", "value": ["flops_optimizer", "flops_model"], "bound": 0.02}
    d = answer(kind="identity", estimator=bound, published=None)
    assert (d["verdict"], d["scope"], d["p_holm"], d["ci95"]) == ("reproduced", "identity", None, None)
    assert d["estimate"] == pytest.approx(0.5)
    assert answer(kind="identity", estimator={**bound, "bound": 0.009}, published=None)["verdict"] == "contradicted"


def test_equivalence_holds_inside_fails_outside_and_is_unresolved_between():
    fields = {
        "kind": "equivalence",
        "estimator": DIFFERENCE,
        "expects": {"within": [-0.03, 0.03]},
        "published": None,
        "margin": {"nats": 0.03, "compute": 0.15},
    }
    inside = answer(trials({"adamw": 1, "muon": 1}, sd=0.005), **fields)
    assert inside["verdict"] == "holds_at_reduced_scale"
    assert answer(trials({"adamw": 1, "muon": 0.4}, sd=0.005), **fields)["verdict"] == "fails_at_reduced_scale"
    unclear = answer(trials({"adamw": 1, "muon": 1}, sd=0.06), **fields)
    assert unclear["verdict"] == "unresolved"
    assert "a margin of" in unclear["detectable"]["text"]


def test_sequential_looks_spend_alpha():
    claims = load_claims({"a": claim(estimator=DIFFERENCE, expects={"below": 0}, published=None)})
    table = trials({"adamw": 1, "muon": 0.9})
    plain, look = (evaluate_claims(claims, table, profile="cpu", look=k)[0] for k in (None, 3))
    assert look.p_holm == pytest.approx(min(1, 5 * plain.p_holm))
    assert look.interval()[1] > plain.interval()[1]
    with pytest.raises(ClaimError, match="4 seeds is no look; looks are at 3, 5, 10 seeds"):
        evaluate_claims(claims, table, profile="cpu", look=4)


def test_a_descriptive_claim_says_whether_it_measured_inside_its_region():
    table = trials({"adamw": 1.0, "muon": 0.6}, sd=0.01)
    inside = {"estimator": DIFFERENCE, "expects": {"below": 0}, "published": None, "confirmatory": False}
    d = answer(table, **inside)
    assert (d["verdict"], d["inside_region"]) == (None, True)
    assert answer(table, **{**inside, "expects": {"above": 0}})["inside_region"] is False
    assert answer(table, **{**inside, "expects": None})["inside_region"] is None
    assert answer(table, **{**inside, "estimator": {**DIFFERENCE, "arm": "lion"}})["inside_region"] is None


def test_a_margin_is_weighed_at_the_measured_slope_and_both_are_said_where_they_differ():
    fields = {
        "kind": "equivalence", "estimator": DIFFERENCE, "expects": {"within": [-0.03, 0.03]}, "published": None,
    }  # fmt: skip
    table = trials({"adamw": 1, "muon": 1}, sd=0.001)
    points = table.groupby("flops").test_loss.mean()
    g = -np.polyfit(np.log(points.index), np.log(points), 1)[0]
    worth = np.expm1(0.03 / (g * points.mean()))
    d = answer(table, margin={"nats": 0.03, "compute": 0.15}, **fields)
    assert d["margin"]["compute_measured"] == pytest.approx(worth, rel=0.01)
    assert not any("was declared as" in n for n in d["notes"])
    far = answer(table, margin={"nats": 0.03, "compute": 0.05}, **fields)
    assert any(f"was declared as 5 % of compute; at the slope measured here it is {100 * worth:.2g} %" in n
               for n in far["notes"])  # fmt: skip


def test_the_margin_of_a_sweep_is_weighed_on_its_best_points():
    table = sweep({"mup": -0.5, "standard": 0.0}, sd=0.001)
    table["flops"] = table["width"] ** 2.0 * 1e6
    fields = {
        "kind": "equivalence", "estimator": {"name": "optimum_slope", "arm": "mup"}, "published": None,
        "expects": {"within": [-0.75, 0.25]}, "margin": {"nats": 0.025, "compute": 0.15},
    }  # fmt: skip
    found = evaluate_claims(load_claims({"a": claim(**fields)}), table, profile="cpu", size_axis="width")[0]
    means = table[table.arm == "mup"].groupby(["flops", "optimizer.lr"]).validation_loss.mean()
    best = means.groupby(level=0).min()
    assert abs(best - means.groupby(level=0).mean()).min() > 0.1
    g = -np.polyfit(np.log(best.index), np.log(best), 1)[0]
    assert found.margin["compute_measured"] == pytest.approx(np.expm1(0.025 / (g * best.mean())), rel=1e-6)


def test_scale_is_that_of_the_trials_a_claim_rests_on():
    """A larger model that another arm ran says nothing of this claim."""
    table = trials()
    extra = table[table["size"] == "d64"].assign(size="d999", arm="lion", parameters=1.5e9, identity="lion")
    d = answer(pd.concat([table, extra], ignore_index=True))
    assert d["scale_factor"] == pytest.approx(1.5e9 / (14e3 * 32))
    narrow = answer(table, estimator={**DIFFERENCE, "where": {"size": ["d24", "d28"]}}, expects={"below": 0})
    assert narrow["scale_factor"] == pytest.approx(1.5e9 / 28e3)


def test_the_blocks_that_claims_take_into_account_are_named():
    raw = {
        "a": claim(estimator=DIFFERENCE), "b": claim(estimator={**DIFFERENCE, "metric": "psnr"}), "c": claim(),
    }  # fmt: skip
    assert tables_read(load_claims(raw)) == {"test_loss_blocks", "psnr_blocks"}


def test_what_tuned_means_is_told_by_the_tuning_trials():
    table = trials()
    search = table[table.seed == 0].assign(role="tuning", seed=1000)
    search = pd.concat([search.assign(**{"optimizer.lr": 2.0**-k, "optimizer.name": "x"}) for k in range(5)])
    d = answer(pd.concat([table, search[search.arm == "muon"]], ignore_index=True))
    assert d["tuned"] == {"muon": {"hyperparameters": ["optimizer.lr"], "selection_seeds": 1, "trials": 30}}
    assert d["numerics_classes"] == ["cpu"]


def test_a_record_under_no_entry_of_this_design_makes_a_claim_exploratory():
    table = trials(registration="aa")
    claims = load_claims({"ratio": claim(), "described": claim(confirmatory=False)})
    judged, described = evaluate_claims(claims, table, profile="cpu", registered={"aa", "bb"})
    assert (judged.verdict, judged.registration) == ("holds_at_reduced_scale", ["aa"])
    for stray in ("", "cc"):
        table.loc[0, "registration"] = stray
        judged, described = evaluate_claims(claims, table, profile="cpu", registered={"aa", "bb"})
        assert judged.verdict == "exploratory"
        assert judged.resolution == "holds"
        assert described.verdict is None
    assert evaluate_claims(claims, trials(), profile="cpu", registered={"aa"})[0].verdict == "exploratory"
    assert evaluate_claims(claims, trials(), profile="cpu")[0].verdict == "holds_at_reduced_scale"


def test_equivalence_needs_a_held_out_sample_whose_error_is_a_third_of_its_margin():
    table = trials({"adamw": 1, "muon": 1}, sd=0.002)
    fields = {
        "kind": "equivalence", "estimator": DIFFERENCE, "expects": {"within": [-0.06, 0.06]}, "published": None,
        "margin": {"nats": 0.06, "compute": 0.3},
    }  # fmt: skip
    claims = load_claims({"ratio": claim(**fields)})
    for spread, dependence in ((0.01, ""), (0.09, "the finite held-out sample")):
        rows = [
            {
                "identity": r.identity, "table": "test_loss_blocks", "block": i, "tokens": 1,
                "loss": r.test_loss + (spread * (-1) ** i if r.arm == "muon" else 0),
            }
            for r in table.itertuples() for i in range(16)
        ]  # fmt: skip
        found = evaluate_claims(claims, table, profile="cpu", tables=pd.DataFrame(rows))[0]
        assert found.depends_on == dependence, found.estimate.validation_error
        assert found.verdict == ("unresolved" if dependence else "holds_at_reduced_scale")


# --- bad input ------------------------------------------------------------------------------------------------


def refused(table, **fields):
    d = answer(table, **fields)
    assert d["verdict"] is None
    assert d["estimate"] is None
    assert "claim 'ratio'" in d["refused"]
    return d["refused"]


def test_too_few_sizes():
    assert "3 sizes over 1.70 decades" in refused(trials(sizes=SIZES[:3]))
    table = trials()
    table["flops"] = table["flops"] ** 0.5
    assert "6 sizes over 0.85 decades" in refused(table)


def test_an_arm_that_diverged_everywhere():
    table = trials()
    table.loc[table.arm == "muon", ["status", "test_loss"]] = ["diverged", np.nan]
    message = refused(table)
    assert "arm 'muon' diverged in all 18 evaluation trials" in message
    assert "extend its learning-rate range downwards" in message


def test_identical_values():
    table = trials({"adamw": 1.0, "muon": 1.0}, sd=0)
    assert "is identical in all 18 pairs; they ran the same computation" in refused(table)


def test_edge_cells_take_no_part():
    table = trials()
    table.loc[(table.arm == "adamw") & (table["size"] == "d64"), "at_edge"] = True
    d = answer(table)
    assert d["num_sizes"] == 5
    assert any("optimum on the edge of its range, left out: d64" in n for n in d["notes"])


def test_missing_seeds_are_dropped_and_counted():
    table = trials(seeds=4)
    table = table[~((table.arm == "muon") & (table.seed == 3) & (table["size"] == "d24"))]
    d = answer(table, estimator=DIFFERENCE, expects={"below": 0}, published=None)
    assert d["num_seeds"] == 3
    assert any("1 trials without a partner" in n for n in d["notes"])


def test_divergence_is_capped_and_its_share_printed():
    table = trials()
    rows = (table.arm == "muon") & (table["size"] == "d24") & (table.seed == 0)
    table.loc[rows, ["status", "test_loss"]] = ["diverged", np.nan]
    d = answer(table, estimator={**DIFFERENCE, "where": {"size": "d24"}}, expects={"below": 0}, published=None)
    row = d["table"][0]
    finite = table[(table.arm == "muon") & (table["size"] == "d24")]["test_loss"].dropna()
    assert row["muon"] == pytest.approx((finite.sum() + np.log(256)) / 3)
    assert any("1 of 3 evaluation trials diverged (33 %, 95 % interval 1-91 %)" in n for n in d["notes"])


def test_a_mean_over_survivors_is_refused():
    table = trials(max_violation=0.1)
    table.loc[table.index[table.arm == "muon"][0], ["status", "max_violation"]] = ["diverged", np.nan]
    message = refused(
        table, estimator={**DIFFERENCE, "metric": "max_violation"}, expects={"below": 0}, published=None
    )
    assert "over the survivors is refused" in message


def test_other_numerics_classes_are_not_paired():
    table = trials()
    table.loc[table.arm == "muon", "numerics_class"] = "cuda"
    assert "different numerics classes" in refused(table)


def test_arms_with_own_seeds_are_compared_unpaired():
    table = trials()
    table.loc[table.arm == "muon", "seed"] += 100
    d = answer(table, estimator=DIFFERENCE, expects={"below": 0}, published=None)
    assert d["verdict"] == "holds_at_reduced_scale"
    assert any("the arms share no seed; compared unpaired" in n for n in d["notes"])


def test_failed_trials_are_counted_and_superseded_ones_ignored():
    table = trials()
    table.loc[(table.arm == "muon") & (table.seed == 2), "status"] = "crashed"
    old = table[(table.arm == "muon") & (table.seed == 0)].assign(selected=False, test_loss=99.0)
    d = answer(pd.concat([table, old]), estimator=DIFFERENCE, expects={"below": 0}, published=None)
    assert d["num_seeds"] == 2
    assert d["estimate"] < 0
    assert any("6 trials left no result (6 crashed)" in n for n in d["notes"])


def test_several_trials_of_one_seed_need_a_narrower_claim():
    table = trials()
    double = pd.concat([table, table[table.arm == "muon"].assign(width=1)])
    assert "several evaluation trials of one seed" in refused(double)


# --- the schema ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"expects": None}, "a confirmatory claim says what it expects"),
        ({"kind": "vague"}, "'kind': Input should be"),
        ({"expects": {"below": 1, "above": 0}}, "give one of below, above, within, all"),
        ({"kind": "equivalence"}, "expects a band"),
        (
            {"kind": "equivalence", "expects": {"within": [-0.1, 0.1]}, "estimator": DIFFERENCE},
            "margin: {nats: .03, compute: .15}",
        ),
        ({"estimator": {"arm": "muon"}}, "estimator needs a name"),
        ({"says": "This proves that Muon is better."}, "'proves' is kept out"),
        ({"unit": "x"}, "unknown key 'unit'"),
    ],
)
def test_a_wrong_claim_is_explained(fields, message):
    with pytest.raises(SuiteError, match="claim 'ratio'") as error:
        load_claims({"ratio": claim(**fields)}, "suites/x.yaml: claims")
    assert message in str(error.value)


def test_unknown_estimators_and_arguments_get_a_hint():
    with pytest.raises(UnknownNameError, match="Did you mean 'compute_ratio'"):
        load_claims({"ratio": claim(estimator={"name": "compute_ration"})})
    with pytest.raises(UnknownNameError, match="Did you mean 'baseline'"):
        load_claims({"ratio": claim(estimator={"name": "compute_ratio", "arm": "muon", "base_line": "adamw"})})
    with pytest.raises(ClaimError, match="needs baseline"):
        load_claims({"ratio": claim(estimator={"name": "compute_ratio", "arm": "muon"})})


def test_at_most_five_confirmatory_claims():
    with pytest.raises(SuiteError, match="6 confirmatory claims"):
        load_claims({f"c{i}": claim() for i in range(6)})


def test_a_margin_is_one_in_nats_only_where_the_metric_is():
    fields = {"kind": "equivalence", "expects": {"within": [-0.1, 0.1]}, "published": None}
    psnr = {"ratio": claim(estimator={**DIFFERENCE, "metric": "psnr"}, **fields)}
    assert load_claims(psnr, metrics={"psnr": Metric(label="PSNR", unit="dB")})
    with pytest.raises(SuiteError, match="states its margin in both currencies"):
        load_claims({"ratio": claim(estimator=DIFFERENCE, **fields)}, metrics=METRICS)


def test_a_published_table_that_is_not_there_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'moonlight_fits'"):
        load_claims({"ratio": claim(published={"value": 0.5, "csv": "moonlight_fit"})})


def test_notes_hold_no_banned_word():
    for table in (trials(), trials({"adamw": 1, "muon": 1.0}), trials({"adamw": 1, "muon": 2})):
        d = answer(table)
        assert not any(banned_in(n) for n in d["notes"])


def test_messages_are_harness_errors():
    assert issubclass(ClaimError, HarnessError)

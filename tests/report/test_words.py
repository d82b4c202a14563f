"""Verdict words: always with their scope, never a banned one."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pandas as pd
import pytest

from harness.report import words
from harness.report.labels import Labels
from harness.wording import banned_in
from harness.workload import Metric
from tests.report.synthetic import claim, claims

SCOPES = ("reduced scale", "published scale", "any scale", "plumbing")


@pytest.mark.parametrize("verdict", [*words.VERDICTS, None])
@pytest.mark.parametrize(
    ("scope", "kind"), [("reduced", "direction"), ("published", "value"), ("published", "identity")]
)
def test_a_badge_always_names_its_scope(verdict: str | None, scope: str, kind: str) -> None:
    text = words.badge(claim(verdict=verdict, scope=scope, kind=kind)).text
    assert any(s in text for s in SCOPES)


def test_badges() -> None:
    def text(**changes: Any) -> str:
        return words.badge(claim(**changes)).text

    assert text() == "holds at reduced scale"
    assert text(verdict="fails_at_reduced_scale") == "does not hold at reduced scale"
    assert text(verdict="unresolved") == "unresolved at reduced scale"
    assert text(verdict="contradicted", scope="published") == "contradicted at published scale"
    assert text(verdict=None, profile="smoke") == "plumbing: no verdict"
    assert text(verdict="exploratory") == "exploratory at reduced scale"
    with pytest.raises(ValueError, match=r"'muon_compute_ratio'.*'true'"):
        words.badge(claim(verdict="true"))


def test_an_identity_holds_or_fails_and_is_never_reproduced() -> None:
    for changes in ({"kind": "identity"}, {"scope": "identity"}):
        for verdict, text in (("reproduced", "identity holds"), ("contradicted", "identity fails")):
            assert words.badge(claim(verdict=verdict, **changes)).text == f"{text} at any scale"


@pytest.mark.parametrize(
    ("inside", "p", "text"),
    [
        (True, 0.01, "inside the region"),
        (False, 0.01, "outside the region"),
        (True, 0.2, "inside the region, with its interval across the edge"),
        (False, 0.2, "outside the region, with its interval across the edge"),
        (None, None, "not judged"),
    ],
)
def test_a_descriptive_claim_says_where_it_lies_by_its_region(inside: bool | None, p: float, text: str) -> None:
    one = claim(verdict=None, inside_region=inside, p_hold=p, p_fail=p)
    assert words.badge(one).text == f"measured at reduced scale: {text}"
    assert f": measured at reduced scale: {text} (" in words.sentence(one)


def test_what_no_registration_stands_behind_is_exploratory_in_every_place() -> None:
    one = claim(verdict="exploratory")
    assert words.badge(one).tone == "exploratory" and not words.is_judged(one)
    assert words.verdict_note(one) == "no registration before these records"
    assert "exploratory at reduced scale, no registration before these records" in words.sentence(one)
    assert "1 exploratory" in words.summary([one, claim()])
    assert "exploratory" not in words.summary([claim(registration="3f2a")])


def test_verdicts_without_a_registration_are_counted_in_the_first_sentence() -> None:
    bare, registered, identity = claim(), claim(registration="3f2a"), claim(kind="identity", scope="identity")
    said = "read them as exploratory"
    assert "No registration stands before any of these verdicts" in words.summary([bare, identity])
    assert "No registration stands before 1 of 2 verdicts" in words.summary([bare, registered])
    assert said not in words.summary([registered, identity]) and said not in words.summary([claim(verdict=None)])


def test_the_sentence_is_whole() -> None:
    assert words.sentence(claim()) == (
        "Tuned Muon needs less compute than tuned AdamW: holds at reduced scale (13.8k to 98.3k parameters, Python "
        "sources; 6 sizes × 3 fresh seeds): 0.56 [0.47, 0.66]; published 0.52 at 399M to 1.5B parameters, "
        "13,000× larger."
    )
    unpublished = words.sentence(claim(published=None, part="step 40", parts=[{}, {}]))
    assert ": 0.56 [0.47, 0.66] at step 40, the least favourable of 2;" in unpublished
    assert unpublished.endswith("; claimed at 399M to 1.5B parameters, 13,000× larger.")
    assert "6 sizes)" in words.sentence(claim(kind="identity", models=""))


def test_where_ranges_of_sizes_overlap_only_the_largest_models_are_compared() -> None:
    made = {"made_at": {"parameters": [1e5, 2e8]}, "scale_factor": 130.0}
    apart = claim(**made, ran_at={"parameters": [24_600.0, 99_000.0]})
    assert words.gap_text(apart) == "130× below the source"
    assert words.sentence(apart).endswith("at 100k to 200M parameters, 130× larger.")
    reaching = {**apart, "ran_at": {"parameters": [24_600.0, 1.57e6]}}
    assert words.gap_text(reaching) == "largest model 130× smaller"
    assert words.sentence(reaching).endswith("at 100k to 200M parameters, largest model 130× larger.")
    assert words.gap_text(claim(scale_factor=0.5)) == words.gap_text(claim(scale_factor=None)) == ""


def test_both_intervals_of_a_mean_over_sizes_and_the_other_forms_stand_beside_it() -> None:
    def form(name: str, low: float, value: float, high: float, **more: Any) -> dict[str, Any]:
        return {"form": name, "estimate": value, "low": low, "high": high, "df": 5, "used": False, **more}

    forms = [
        form("shared_power_law", 0.53, 0.66, 0.82, used=True),
        form("fit_free", 0.6136, 0.6937, 0.7844),
        form("these sizes", -0.0855, -0.0737, -0.0619),
        form("other part", 1, 2, 3, part="step 40"),
        form("no answer", 1, math.nan, 3),
    ]
    assert words.beside(claim(forms=forms)) == [
        "fit free: 0.69 [0.61, 0.78]", "these sizes: −0.074 [−0.086, −0.062]",
    ]  # fmt: skip
    assert words.beside(claim()) == []


def test_in_how_many_numerics_classes_a_claim_was_run_is_said() -> None:
    assert words.classes_text(claim(numerics_classes=["AVX512"])) == "1 numerics class"
    assert words.classes_text(claim(numerics_classes=["AVX512", "H200"])) == "2 numerics classes"
    assert words.classes_text(claim()) == ""


def test_digits_end_at_the_first_of_the_claims_own_standard_error() -> None:
    one = claim(estimate=0.5562, ci95=[0.3, 0.8], df=1)
    assert words.estimate_text({**one, "se": 0.2}) == "0.6 [0.3, 0.8]"
    # An interval alone implies an error by its degrees of freedom.
    assert words.estimate_text(one) == "0.56 [0.30, 0.80]"
    assert words.estimate_text(claim(interval_level=0.985)) == "0.56 [0.47, 0.66] (98.5 %)"


def test_unresolved_says_what_the_run_could_see() -> None:
    said = words.sentence(claim(verdict="unresolved", unit="nats", minimum_detectable_effect=0.0584))
    assert said.endswith("This run could see 0.058 nats.")


def test_a_refusal_gives_its_reason_and_no_number() -> None:
    said = words.sentence(claim(verdict=None, refused="3 sizes; a ratio needs 4", estimate=None))
    assert "no verdict" in said and said.endswith("3 sizes; a ratio needs 4.")
    assert "0.5" not in said


def test_no_banned_word_is_ever_produced() -> None:
    for verdict, scope, kind, profile in product(
        [*words.VERDICTS, None], ("reduced", "published"), ("identity", "value", "equivalence"), ("smoke", "cpu")
    ):
        one = claim(verdict=verdict, scope=scope, kind=kind, profile=profile)
        for text in (words.badge(one).text, words.sentence(one), words.summary([one]), words.answer([one])):
            assert not banned_in(text)
    assert not banned_in(words.error_rate(claims()))


def test_the_summary_counts_verdicts_and_names_scales() -> None:
    assert words.tally(claims()) == {"held": 3, "failed": 2, "open": 1, "exploratory": 0, "none": 2}
    text = words.summary(claims())
    assert "8 claims, 3 held, 2 did not hold, 1 unresolved, 2 no verdict" in text
    assert "4 at reduced scale (largest model 310× to 13,000× smaller than the source's)" in text
    assert "1 at published scale" in text and "1 identity" in text
    assert "no verdict is given" in words.summary([claim(profile="smoke", verdict=None)])
    assert words.summary([]) == "No claims were examined."


def test_published_values_stand_with_their_scale_and_interval() -> None:
    one = claim(published={"value": 0.52, "interval": [0.47, 0.57]})
    assert words.published_text(one) == "0.52 [0.47, 0.57] at 399M to 1.5B parameters"
    assert words.published_text(claim(published=None)) == "–"
    assert words.made_at(claim(made_at={"parameters": 2.24e9})) == "2.24B parameters"
    agreed = claim(published={"value": 0.52, "agreement": "cannot tell"}, scope="published", verdict="reproduced")
    assert words.verdict_note(agreed) == "against the published value: cannot tell"


def test_what_an_unresolved_claim_hangs_on_is_said() -> None:
    one = claim(
        verdict="unresolved",
        resolved_before_correction=True,
        depends_on="the estimator",
        detectable={"text": "a change of 0.06 nats (0.04-0.1)"},
    )
    assert words.verdict_note(one) == (
        "resolved before correction; depends on the estimator; could see a change of 0.06 nats (0.04-0.1)"
    )
    assert words.verdict_note(claim()) == ""


def test_the_error_rate_is_of_this_ledger() -> None:
    assert words.error_rate([claim()]).endswith(": a suite holds a false verdict in up to 5 % of cases.")
    three = [claim(suite=s) for s in ("a", "b", "c", "c")]
    assert "a ledger of three suites holds a false verdict in up to 14 % of cases." in words.error_rate(three)
    seven = words.error_rate([claim(suite=str(i)) for i in range(7)], [("effective_rank", "muon_scaling")])
    assert "a ledger of 7 suites holds a false verdict in up to 30 % of cases." in seven
    assert seven.endswith(
        "effective_rank and muon_scaling share trials: their verdicts are not independent evidence."
    )
    # Nothing was tested, nothing can be false.
    assert words.error_rate([claim(p_holm=None)]) == ""


def test_how_hyperparameters_were_found_is_said() -> None:
    tuned = {"tuning": {"space": {"optimizer.lr": {}}, "seeds": [1000]}}
    assert words.tuning_text(tuned, Labels()) == "learning rate tuned, one selection seed"
    two = {"tuning": {"space": {"optimizer.lr": {}, "optimizer.weight_decay": {}}, "seeds": [1000, 1001]}}
    assert words.tuning_text(two, Labels()) == "learning rate and optimizer weight decay tuned, two selection seeds"
    assert words.tuning_text({"sweep": tuned["tuning"]}, Labels()).startswith("learning rate swept")
    own = {"tuning": {"space": {}}, "arms": {"adamw": {"space": {"optimizer.lr": {}}}, "moved": {}}}
    assert words.tuning_text(own, Labels()) == "learning rate tuned, one selection seed"
    assert words.tuning_text({}, Labels()) == words.tuning_text({"tuning": {"space": {}}}, Labels()) == ""
    said = words.sentence(claim(tuning="learning rate tuned, one selection seed"))
    assert "6 sizes × 3 fresh seeds; learning rate tuned, one selection seed)" in said


def test_what_tuned_means_for_a_claims_arms_is_said() -> None:
    one = {"hyperparameters": ["optimizer.lr"], "selection_seeds": 1, "trials": 40}
    assert words.tuned_text({"muon": one, "adamw": one}, Labels()) == "learning rate tuned, one selection seed"
    two = {**one, "hyperparameters": ["optimizer.weight_decay"], "selection_seeds": 2}
    assert words.tuned_text({"muon": one, "adamw": two}, Labels()) == (
        "learning rate and optimizer weight decay tuned, one selection seed"
    )
    assert words.tuned_text({}, Labels()) == words.tuned_text({"a": {**one, "hyperparameters": []}}, Labels()) == ""


def test_earlier_designs_are_named_with_what_they_left() -> None:
    first = {"ledger": [claim(verdict="unresolved")] * 4 + [claim(verdict=None)]}
    second = {"ledger": [claim(verdict="unresolved")] + [claim()] * 3}
    assert words.designs("mup", [first]) == "mup: second design; the first left 4 of 4 unresolved"
    assert words.designs("mup", [first, second]) == (
        "mup: third design; the first left 4 of 4 unresolved; the second left 1 of 4 unresolved"
    )
    assert words.designs("mup", [{}]) == "mup: second design; the first formed no verdict"


def test_the_scale_is_of_what_the_workload_declares() -> None:
    frame = pd.DataFrame({"parameters": [24_576, 1_572_864], "tokens": [1e6, 2e6], "role": "evaluation"})
    declared = Labels(metrics={"parameters": Metric(label="parameters (no embedding)")})
    assert words.scale_text(frame, declared, "python sources") == "24.6k to 1.57M parameters, python sources"
    seen = Labels(metrics={"tokens": Metric(label="tokens seen")})
    assert words.scale_text(frame, seen) == "1M to 2M tokens seen"
    assert words.scale_text(frame, Labels()) == ""


def test_what_of_the_held_out_text_stands_in_train_is_said_with_its_number() -> None:
    corpus = {"name": "python sources", "lines": 4, "validation": 0.0444, "test": 0.0518}
    assert words.held_out_text([corpus]) == (
        "python sources: 4.4 % of the validation split's and 5.2 % of the test split's blocks of 4 lines also "
        "stand in the train split"
    )
    assert words.held_out_text([{**corpus, "validation": None, "name": ""}]).startswith("5.2 % of the test split's")
    assert words.held_out_text([]) == words.held_out_text([{"lines": 4, "validation": None, "test": None}]) == ""

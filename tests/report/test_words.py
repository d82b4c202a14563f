"""Verdict words: always with their scope, never a banned one."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from harness.report import words
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
    assert text(verdict="reproduced", kind="identity") == "reproduced at any scale"
    assert text(verdict=None, profile="smoke") == "plumbing: no verdict"
    with pytest.raises(ValueError, match=r"'muon_compute_ratio'.*'true'"):
        words.badge(claim(verdict="true"))


def test_the_sentence_is_whole() -> None:
    said = words.sentence(claim(), "13.8k to 98.3k parameters, Python sources")
    assert said == (
        "Tuned Muon needs less compute than tuned AdamW: holds at reduced scale (13.8k to 98.3k parameters, Python "
        "sources; 6 sizes × 3 fresh seeds): 0.56 [0.47, 0.66]; published 0.52, 13,000× larger."
    )
    assert words.sentence(claim(sentence="As the analysis wrote it.")) == "As the analysis wrote it."


def test_unresolved_says_what_the_run_could_see() -> None:
    said = words.sentence(claim(verdict="unresolved", unit="nats", minimum_detectable_effect=0.0584))
    assert said.endswith("This run could see 0.058 nats.")


def test_a_refusal_gives_its_reason_and_no_number() -> None:
    said = words.sentence(claim(verdict=None, refused="3 sizes; a ratio needs 4", estimate=None))
    assert "no verdict" in said and said.endswith("3 sizes; a ratio needs 4.")
    assert "0.5" not in said


def test_no_banned_word_is_ever_produced() -> None:
    assert words.banned_in("This PROVES a significant gain") == ["proves", "significant"]
    assert words.banned_in("improves insignificantly") == []
    for verdict, scope, kind, profile in product(
        [*words.VERDICTS, None], ("reduced", "published"), ("identity", "value", "equivalence"), ("smoke", "cpu")
    ):
        one = claim(verdict=verdict, scope=scope, kind=kind, profile=profile)
        for text in (words.badge(one).text, words.sentence(one), words.summary([one]), words.answer([one])):
            assert not words.banned_in(text)
    assert not words.banned_in(words.ERROR_RATE_NOTE)


def test_the_summary_counts_verdicts_and_names_scales() -> None:
    assert words.tally(claims()) == {"held": 3, "failed": 2, "open": 1, "none": 2}
    text = words.summary(claims())
    assert "8 claims, 3 held, 2 did not hold, 1 unresolved, 2 no verdict" in text
    assert "4 at reduced scale (310× to 13,000× below the published one)" in text
    assert "1 at published scale" in text and "1 identity" in text
    assert "no verdict is given" in words.summary([claim(profile="smoke", verdict=None)])
    assert words.summary([]) == "No claims were examined."


def test_published_values_stand_with_their_scale_and_interval() -> None:
    one = claim(published={"value": 0.52, "interval": [0.47, 0.57]})
    assert words.published_text(one) == "0.52 [0.47, 0.57] at 399M to 1.5B parameters"
    assert words.published_text(claim(published=None)) == "–"
    assert words.made_at(claim(made_at={"parameters": 2.24e9})) == "2.24B parameters"
    agreed = claim(published={"value": 0.52, "agreement": "cannot tell"}, scope="published", verdict="reproduced")
    assert words.badge_note(agreed) == "against the published value: cannot tell"


def test_what_an_unresolved_claim_hangs_on_is_said() -> None:
    one = claim(
        verdict="unresolved",
        resolved_before_correction=True,
        depends_on="the estimator",
        detectable={"text": "a change of 0.06 nats (0.04-0.1)"},
    )
    assert words.badge_note(one) == (
        "resolved before correction; depends on the estimator; could see a change of 0.06 nats (0.04-0.1)"
    )
    assert words.badge_note(claim()) == ""

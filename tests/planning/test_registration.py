"""What may be judged was put down before: chains that nothing rewrites, fresh seeds for a changed design."""

import pytest

from harness.errors import SuiteError
from harness.planning import registration
from harness.planning.plan import make_plan
from harness.planning.registration import (
    RANGE,
    Entry,
    analysis_digest,
    chained,
    design_digest,
    differences,
    entries_for,
    history_of,
    with_seeds,
)
from harness.planning.suite import Suite
from harness.records.record import RecordSet

NOBODY = {"has_records": lambda suite, under: False}
EVERYBODY = {"has_records": lambda suite, under: True}


def suite(**changes):
    fields = {
        "name": "s", "profile": "cpu", "title": "T", "question": "Q?", "workload": "toy", "base": {},
        "arms": {"adamw": {"optimizer": {"name": "adamw", "lr": 0.01}}}, "seeds": 3,
        "claims": {"c": {"says": "it is below one", "estimator": {"name": "mean_value"}, "expects": {"below": 1}}},
    }  # fmt: skip
    return Suite.model_validate({**fields, **changes})


def registered(*suites, kind=EVERYBODY, before=(), **kwargs):
    """Entries after these suites were registered one after the other."""
    entries = list(before)
    for s in suites:
        entries += entries_for([s], chained(entries), **{**kind, **kwargs})
    return entries


def test_a_first_design_needs_no_reason_and_takes_the_first_range():
    (entry,) = registered(suite())
    assert entry.kind == "design" and entry.first_seed == RANGE and entry.previous == ""
    assert chained([entry]).current(suite()) == entry


def test_the_same_design_again_registers_nothing():
    assert len(registered(suite(), suite())) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 4},
        {"base": {"model": {"width": 8}}},
        {"claims": {"c": {"says": "below two", "estimator": {"name": "mean_value"}, "expects": {"below": 2}}}},
        {"arms": {"adamw": {"optimizer": {"name": "adamw", "lr": 0.02}}}},
    ],
)
def test_a_design_changed_after_records_needs_a_reason_and_takes_seeds_nobody_used(change):
    entries = registered(suite())
    message = rf"s \(cpu\): {next(iter(change))}.* changed after records exist.*--reason"
    with pytest.raises(SuiteError, match=message):
        registered(suite(**change), before=entries)
    left = [{"id": "c", "verdict": "unresolved"}]
    old, new = registered(suite(**change), before=entries, reason="wider", ledger=lambda *_: left)
    assert (new.previous, new.first_seed) == (old.hash, 2 * RANGE)
    assert new.superseded == left and new.reason == "wider"


def test_a_design_changed_before_any_record_asks_nothing_and_takes_fresh_seeds_too():
    # Another suite registered with it may have run on the old ones.
    old, new = registered(suite(), suite(seeds=5), kind=NOBODY)
    assert new.first_seed == old.first_seed + RANGE and new.previous == old.hash


PROSE = [{"title": "Other"}, {"question": "Other?"}, {"note": "x"}, {"note": "y"}]


@pytest.mark.parametrize("prose", PROSE)
def test_prose_is_no_part_of_a_design(prose):
    assert design_digest(suite(**prose)) == design_digest(suite())


def test_other_analysis_code_appends_an_entry_on_the_same_seeds(monkeypatch):
    (first,) = registered(suite())
    monkeypatch.setattr("harness.planning.registration.analysis_digest", lambda suite: "other")
    left = [{"id": "c", "estimate": 1.0, "ci95": [0.0, 2.0], "verdict": "unresolved"}]
    close = [{**left[0], "estimate": 1.001}]
    _, second = registered(suite(), before=[first], ledger=lambda *_: left, ledger_now=lambda *_: close)
    assert second.kind == "analysis" and second.first_seed == first.first_seed
    assert second.superseded == left
    assert chained([first, second]).accepted(suite()) == {first.hash, second.hash}


@pytest.mark.parametrize("change", [{"estimate": 1.5}, {"verdict": "reproduced"}, {"estimate": None}])
def test_other_analysis_code_with_other_results_needs_a_reason(monkeypatch, change):
    (first,) = registered(suite())
    monkeypatch.setattr("harness.planning.registration.analysis_digest", lambda suite: "other")
    left = [{"id": "c", "estimate": 1.0, "ci95": [0.0, 2.0], "verdict": "unresolved"}]
    both = {"ledger": lambda *_: left, "ledger_now": lambda *_: [{**left[0], **change}]}
    with pytest.raises(SuiteError, match=r"code that judges .* changed, and with it c: .*--reason"):
        registered(suite(), before=[first], **both)
    assert registered(suite(), before=[first], reason="a fault", **both)[-1].reason == "a fault"


def test_a_claim_that_only_one_ledger_has_is_no_difference():
    row = {"id": "c", "estimate": 1.0, "ci95": None, "verdict": None}
    assert differences([row], [row, {**row, "id": "d"}]) == []
    assert differences([row], [{**row, "estimate": 1.1}]) == ["c: 1.0 -> 1.1"]


def test_records_of_an_earlier_design_do_not_count_for_the_present_one():
    old, new = registered(suite(), before=registered(suite(seeds=2)), reason="more seeds")
    assert chained([old, new]).accepted(suite()) == {new.hash}


def test_suites_registered_together_share_a_range_of_seeds():
    history = registered(suite(name="a"))
    both = entries_for([suite(name="a", seeds=4), suite(name="b")], chained(history), reason="r", **EVERYBODY)
    assert [e.first_seed for e in both] == [2 * RANGE, 2 * RANGE]


def test_smoke_and_pilots_register_nothing_and_use_seeds_of_their_own():
    smoke = suite(profile="smoke")
    assert registered(smoke) == []
    pilot = suite(pilot="overrides")
    assert registered(pilot) == []
    for known in (chained([]), chained(registered(suite()))):
        assert [s.first_seed for s in with_seeds([smoke, pilot, suite()], known)] == [0, 0, RANGE]


def test_an_entry_that_was_edited_or_removed_breaks_the_chain_in_words():
    entries = registered(suite(), reason="r")
    entries = registered(suite(seeds=4), suite(seeds=5), before=entries, reason="r")
    with pytest.raises(SuiteError, match=r"is broken: entry .* is not there or was altered"):
        chained([entries[0], entries[2]])
    edited = entries[1].model_copy(update={"reason": "another"})
    with pytest.raises(SuiteError, match="is broken"):
        chained([entries[0], edited, entries[2]])


def test_a_fork_is_an_error_with_a_sentence():
    entries = registered(suite())
    one = registered(suite(seeds=4), before=entries, reason="r")[-1]
    other = registered(suite(seeds=5), before=entries, reason="r")[-1]
    with pytest.raises(SuiteError, match=r"chain s \(cpu\) forks: entries .* both follow"):
        chained([*entries, one, other])
    assert len(chained([*entries, one, one]).chain("s", "cpu")) == 2


def test_told_history_counts_as_data_seen():
    told = Entry(
        suite="s", profile="cpu", kind="history", design={"in words": "two seeds"}, design_digest="", at="",
        analysis_digest="", first_seed=0, reason="first run",
    )  # fmt: skip
    with pytest.raises(SuiteError, match="its design changed after records exist"):
        registered(suite(), before=[told], kind=NOBODY)
    again = registered(suite(), before=[told], kind=NOBODY, reason="as declared, on new seeds")
    assert again[-1].first_seed == RANGE


def test_the_plan_draws_evaluation_seeds_from_the_range_and_tuning_seeds_from_their_own(toy_suite):
    moved = toy_suite.model_copy(update={"first_seed": 20_000})
    plan = make_plan(moved, RecordSet(), None)
    assert {i.planned.trial.seed for i in plan.items if i.planned.role == "tuning"} == {1000}
    adamw = {"optimizer": {"name": "adamw"}}
    fixed = {"base": {"optimizer": {"lr": 0.01}}, "tuning": None, "arms": {"adamw": adamw}}
    untuned = Suite.model_validate({**moved.model_dump(), **fixed})
    assert {i.planned.trial.seed for i in make_plan(untuned, RecordSet(), None).items} == {20_000, 20_001, 20_002}


def test_the_analysis_digest_is_of_the_code_that_judges_this_suite(monkeypatch):
    asked = []
    monkeypatch.setattr(registration, "fingerprint", lambda names: asked.append(names) or {n: n for n in names})
    registration._analysis_digest.cache_clear()
    mean, ratio = (
        suite(claims={"c": {"estimator": {"name": name}}}) for name in ("mean_value", "compute_ratio")
    )  # fmt: skip
    assert analysis_digest(mean) != analysis_digest(ratio)
    registration._analysis_digest.cache_clear()
    assert all(set(registration.JUDGES) <= set(names) for names in asked)
    assert [n for n in asked[0] if n.startswith("harness.analysis.estimators.")]


def test_history_counts_designs_and_tells_what_each_left():
    ledger = [{"id": "c", "verdict": "unresolved"}]
    chain = registered(suite(), suite(seeds=4), reason="more seeds", ledger=lambda *_: ledger)
    again = chain[-1].model_copy(update={"kind": "analysis", "superseded": ledger})
    first, second = history_of([*chain, again])
    assert first["design"].startswith("design 1 (registered as") and first["ledger"] == ledger
    assert (first["kind"], second["kind"]) == ("design", "analysis")
    assert second["design"].startswith("design 2 by earlier analysis code")

"""Needed trials in a plan: planned once, waited for, and what their artifacts' change makes stale."""

import pytest

import harness.workloads
from harness.errors import HarnessError
from harness.fingerprint import trial_fingerprint
from harness.planning.plan import make_plan
from harness.records.record import Record, RecordSet, code_of
from harness.trial import digest
from tests.toys.needing import FOLDER, codecs


@pytest.fixture(autouse=True)
def workloads(monkeypatch):
    monkeypatch.setattr(harness.workloads, "__path__", [*harness.workloads.__path__, str(FOLDER / "workloads")])


def plan_of(records=None, suite=None, **changes):
    return make_plan(suite or codecs(**changes), records or RecordSet(), None)


def record_of(item, *, content="weights", **changes):
    """A record as a trial of this plan leaves it; ``content`` stands for the bytes of a denoiser's file."""
    trial = item.planned.trial
    file = {"file": "denoiser.json", "sha256": digest([content, trial.identity]), "bytes": 1}
    return Record.model_validate(
        {
            "trial": trial.model_dump(),
            "status": "completed",
            "metrics": {"gain": 1.0} if item.planned.role == "needed" else {"psnr": 1.0},
            "artifacts": {"denoiser": file} if item.planned.role == "needed" else {},
            "needs": {name: need.record.artifacts_digest for name, need in item.needs.items()},
            "fingerprint": trial_fingerprint(trial),
            "numerics_class": "toy",
            **changes,
        }
    )


def run_pending(plan, records, **changes):
    for item in plan.pending:
        records.add(record_of(item, **changes))


def by_role(plan, role):
    return [i for i in plan.items if i.planned.role == role]


def test_a_needed_trial_is_planned_once_and_those_that_read_it_wait():
    plan = plan_of()
    needed = by_role(plan, "needed")
    assert [(i.planned.arm, i.planned.cell, i.planned.trial.workload) for i in needed] == [
        ("denoiser", {"fold": "a"}, "toy_denoiser"),
        ("denoiser", {"fold": "b"}, "toy_denoiser"),
    ]
    assert needed[0].planned.trial.config == {"quality": 2.0}
    assert needed[0].planned.probes == {}
    # 2 denoisers and what reads none: 2 rates x 2 seeds, the same trials in either fold.
    assert plan.counts() == {"done": 0, "stale": 0, "missing": 10, "failed": 0, "waiting": 16}
    assert {(i.planned.arm, i.state) for i in by_role(plan, "evaluation")} == {
        ("ddcm", "waiting"), ("turbo", "waiting"), ("jpeg", "missing"),
    }  # fmt: skip
    assert {i.why for i in plan.items if i.state == "waiting"} == {"needs 'denoiser', which has not run"}
    assert not [i for i in plan.pending if i.state == "waiting"]
    assert plan.more == 16
    assert plan.notes == []


def test_identities_tell_apart_what_reads_different_artifacts():
    one = [i.planned.trial for i in by_role(plan_of(), "evaluation") if i.planned.arm == "ddcm"]
    assert len({t.identity for t in one}) == 8, "2 folds x 2 rates x 2 seeds"
    assert len({t.needs["denoiser"] for t in one}) == 2
    other = plan_of(needs={"denoiser": {"workload": "toy_denoiser", "base": {"quality": 2.5}}})
    assert not {t.identity for t in one} & {i.planned.trial.identity for i in by_role(other, "evaluation")
                                            if i.planned.arm == "ddcm"}  # fmt: skip
    jpeg = [i.planned.trial for i in by_role(plan_of(), "evaluation") if i.planned.arm == "jpeg"]
    assert {tuple(t.needs) for t in jpeg} == {()}
    assert len({t.identity for t in jpeg}) == 4


def test_rounds_lead_from_the_needed_trials_to_those_that_read_them():
    records = RecordSet()
    run_pending(plan_of(), records)
    second = plan_of(records)
    assert second.counts() == {"done": 10, "stale": 0, "missing": 16, "failed": 0, "waiting": 0}
    assert second.more == 0
    run_pending(second, records)
    last = plan_of(records)
    assert not last.pending
    ddcm = next(i for i in last.items if i.planned.arm == "ddcm")
    assert ddcm.record.needs == {"denoiser": ddcm.needs["denoiser"].record.artifacts_digest}


@pytest.fixture
def finished():
    records = RecordSet()
    for _ in range(2):
        run_pending(plan_of(records), records)
    assert plan_of(records).counts()["done"] == 26
    return records


def test_other_artifacts_make_those_that_read_them_stale_and_no_others(finished):
    again = by_role(plan_of(finished), "needed")[0]
    finished.add(record_of(again, content="trained again"))
    plan = plan_of(finished)
    assert {(i.planned.arm, i.planned.cell["fold"]) for i in plan.pending} == {("ddcm", "a"), ("turbo", "a")}
    assert {(i.state, i.why) for i in plan.pending} == {("stale", "changed: artifacts of denoiser")}
    run_pending(plan, finished)
    assert not plan_of(finished).pending


def test_equal_artifacts_of_changed_code_leave_those_that_read_them_done(finished):
    needed = by_role(plan_of(finished), "needed")[0]
    old = needed.record.model_copy(update={"fingerprint": {"harness.workloads.toy_denoiser": "old"}})
    finished.by_identity[old.identity] = [old]
    plan = plan_of(finished)
    assert [(i.planned.role, i.state) for i in plan.pending] == [("needed", "stale")]
    waiting = [i for i in plan.items if i.state == "waiting"]
    assert {(i.planned.arm, i.planned.cell["fold"]) for i in waiting} == {("ddcm", "a"), ("turbo", "a")}
    assert "needs 'denoiser', which is stale: changed: " in waiting[0].why
    assert all(i.record for i in waiting), "what is known is shown meanwhile"
    finished.add(record_of(needed))
    assert not plan_of(finished).pending


def test_records_of_other_artifacts_can_be_accepted(finished):
    finished.add(record_of(by_role(plan_of(finished), "needed")[0], content="trained again"))
    suite = codecs()
    stale = plan_of(finished).pending
    accepted = {(i.record.identity, code_of(i.record), digest(i.now)[:16]): "equal to 1e-6" for i in stale}
    assert not make_plan(suite, finished, None, accepted).pending
    # The acceptance was for those artifacts: after a third training it says nothing.
    finished.add(record_of(by_role(plan_of(finished), "needed")[0], content="and again"))
    assert len(make_plan(suite, finished, None, accepted).pending) == len(stale)


@pytest.mark.parametrize(
    ("changes", "state", "why"),
    [
        ({"status": "crashed", "reason": "Traceback\nValueError: no photographs"}, "failed",
         "failed: crashed: ValueError: no photographs"),
        ({"status": "diverged", "diverged_step": 1, "reason": "loss is not finite"}, "done",
         "diverged: loss is not finite"),
        ({"status": "skipped", "reason": "no CUDA device"}, "missing", "has not run: skipped elsewhere"),
        ({"artifacts": {}}, "done", "left no artifact"),
    ],
)  # fmt: skip
def test_those_that_read_a_failed_trial_say_so(changes, state, why):
    records = RecordSet()
    needed = by_role(plan_of(), "needed")
    records.add(record_of(needed[0], **changes))
    records.add(record_of(needed[1]))
    plan = plan_of(records)
    assert by_role(plan, "needed")[0].state == state
    waiting = [i for i in plan.items if i.state == "waiting"]
    assert {i.planned.cell["fold"] for i in waiting} == {"a"}
    assert {i.why for i in waiting} == {f"needs 'denoiser', which {why}"}
    told = f"needed trial 'denoiser', fold a {why}; 8 trials wait for it"
    assert plan.notes == ([] if state == "missing" else [told])


def test_the_seed_of_a_needed_trial_is_fixed_or_follows_its_reader_or_is_an_axis():
    def seeds(need, **changes):
        suite = {"needs": {"denoiser": {"workload": "toy_denoiser", **need}}, **changes}
        return [(i.planned.trial.seed, i.planned.cell) for i in by_role(plan_of(**suite), "needed")]

    one = {"axes": {}, "arms": {"ddcm": {}}}
    assert seeds({}, **one) == [(0, {})]
    assert seeds({"seed": 5}, **one) == [(5, {})]
    assert seeds({"seed": "same"}, **one) == [(0, {}), (1, {})]
    axis = {"denoiser": {"path": "needs.denoiser.seed", "values": [3, 4]}}
    assert seeds({}, axes=axis, arms={"ddcm": {}}) == [(3, {"denoiser": 3}), (4, {"denoiser": 4})]


def test_a_tuned_point_may_lie_in_the_needed_trial():
    sweep = {"space": {"needs.denoiser.quality": {"values": [1.0, 2.0]}}, "metric": "psnr"}
    plan = plan_of(axes={}, arms={"ddcm": {}}, sweep=sweep)
    assert [i.planned.trial.config for i in by_role(plan, "needed")] == [{}, {"quality": 2.0}]
    assert plan.counts()["waiting"] == 4


def test_a_search_goes_on_once_what_its_points_need_is_there():
    tuning = {"space": {"rate": {"log2": [0, 1]}}, "budget": 2, "metric": "psnr"}
    suite = {"axes": {}, "arms": {"ddcm": {}}, "tuning": tuning}
    records = RecordSet()
    states = []
    for _ in range(3):
        plan = plan_of(records, **suite)
        states.append((len(plan.pending), plan.counts()["waiting"], plan.more))
        run_pending(plan, records)
    assert states == [(1, 2, 4), (2, 0, 2), (2, 0, 0)]


def test_two_suites_share_a_needed_trial(finished):
    other = codecs(name="other", arms={"mp": {"name": "mp"}})
    plan = plan_of(finished, suite=other)
    assert {i.state for i in by_role(plan, "needed")} == {"done"}
    assert plan.counts()["missing"] == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {"a": {"needs": {"denoisr": {}}}}},
         r"codecs.yaml: arm 'a', fold a, rate 1.0: needs: unknown needed trial 'denoisr'.*Did you mean 'denoiser'"),
        ({"arms": {"a": {"needs": {"denoiser": {"qualty": 1}}}}},
         r"arm 'a', fold a, rate 1.0: needs.denoiser: .*unknown key 'qualty'.*Did you mean 'quality'"),
        ({"arms": {"a": {"needs": {"denoiser": 3}}}}, "needs.denoiser: got 3; give a patch of its config"),
        ({"arms": {"a": {"needs": {"denoiser": {"seed": -1}}}}},
         r"needs.denoiser.seed: got -1; give 'same' or an index from 0 on"),
        ({"needs": {"denoiser": {"workload": "toy_denoisr"}}},
         r"needs.denoiser: unknown workload 'toy_denoisr'.*Did you mean 'toy_denoiser'"),
        ({"needs": {}, "axes": {}, "arms": {"a": {"needs": {"denoiser": {}}}}},
         r"needs: unknown needed trial 'denoiser'"),
    ],
)  # fmt: skip
def test_mistakes_in_needs_are_named(changes, message):
    with pytest.raises(HarnessError, match=message):
        plan_of(**changes)


def test_a_seed_that_is_none_is_refused_by_the_schema():
    with pytest.raises(ValueError, match=r"needs\.denoiser\.seed"):
        codecs(needs={"denoiser": {"workload": "toy_denoiser", "seed": "any"}})

import math
import time

import pytest

from harness.errors import HarnessError
from harness.planning.durations import estimate_seconds
from harness.planning.plan import make_plan
from harness.planning.suite import Suite
from harness.records.record import RecordSet, code_of
from harness.trial import digest
from tests.conftest import TOY_SUITE, finish, run_toy


def evaluation(plan, arm, size="small"):
    return [
        i
        for i in plan.items
        if i.planned.arm == arm and i.planned.role == "evaluation" and i.planned.cell == {"size": size}
    ]


def test_rounds_lead_from_tuning_over_closure_to_fresh_seeds(toy_suite, tmp_path):
    first = make_plan(toy_suite, RecordSet(), tmp_path)
    assert first.counts() == {"done": 0, "stale": 0, "missing": 14, "failed": 0, "waiting": 0}
    assert first.more > 0
    plan, _, rounds = finish(toy_suite)
    assert len(rounds) > 2
    assert plan.more == 0
    for arm in ("adamw", "muon", "moved"):
        chosen = evaluation(plan, arm)
        assert [i.planned.trial.seed for i in chosen] == [0, 1, 2]
        assert math.log2(chosen[0].planned.hyperparameters["optimizer.lr"]) == pytest.approx(-7.0, abs=0.05)
    assert sum(i.planned.selected for i in plan.items if i.planned.role == "tuning") == 4


def test_hyperparameters_from_another_arm_follow_it_cell_by_cell(toy_suite):
    plan, _, _ = finish(toy_suite)
    for size in ("small", "large"):
        assert evaluation(plan, "moved", size)[0].planned.hyperparameters == (
            evaluation(plan, "adamw", size)[0].planned.hyperparameters
        )


def test_same_lr_of_two_arms_of_one_method_is_one_trial(toy_workload):
    raw = {
        **TOY_SUITE,
        "arms": {"a": {"optimizer": {"name": "adamw"}}, "b": {"optimizer": {"name": "adamw"}}},
    }
    _, records, _ = finish(Suite.model_validate(raw))
    alone, one, _ = finish(Suite.model_validate({**raw, "arms": {"a": raw["arms"]["a"]}}))
    assert len(records) == len(one)
    assert len(alone.items) < len(records) * 2


def test_tuned_budget_is_equal_and_reported(toy_suite):
    plan, _, _ = finish(toy_suite)
    assert all(s["budget_used"] <= 8 for s in plan.selections if s["budget_used"])


def test_a_finished_plan_is_done_and_identities_are_stable(toy_suite, tmp_path):
    plan, records, _ = finish(toy_suite)
    again = make_plan(toy_suite, records, tmp_path)
    assert not again.pending
    assert [i.planned for i in again.items] == [i.planned for i in plan.items]


def test_other_fingerprint_is_stale_and_names_the_module(toy_suite, tmp_path):
    plan, records, _ = finish(toy_suite)
    victim = evaluation(plan, "adamw")[0].record
    old = victim.model_copy(
        update={"fingerprint": {**victim.fingerprint, "baselines.optimizers.adamw": "old"}}
    )
    records.by_identity[old.identity] = [old]
    again = make_plan(toy_suite, records, tmp_path)
    assert [i.why for i in again.pending] == ["changed: baselines.optimizers.adamw"]
    assert again.pending[0].state == "stale"
    current = digest(victim.fingerprint)[:16]
    accepted = {(old.identity, code_of(old), current): "comments only"}
    assert not make_plan(toy_suite, records, tmp_path, accepted).pending


def test_failed_trials_are_pending_and_say_why(toy_suite, tmp_path):
    plan, records, _ = finish(toy_suite)
    t = evaluation(plan, "muon")[0].planned.trial
    records.by_identity[t.identity] = [run_toy(t, status="crashed", reason="signal 9")]
    again = make_plan(toy_suite, records, tmp_path)
    assert {i.state for i in again.pending} == {"failed"}
    assert {i.planned.trial.identity for i in again.pending} == {t.identity}
    assert "signal 9" in again.pending[0].why


def test_diverged_fresh_seed_moves_to_the_next_finite_point_with_new_seeds(toy_suite, tmp_path):
    plan, records, _ = finish(toy_suite)
    victim = evaluation(plan, "adamw")[1].planned.trial
    records.by_identity[victim.identity] = [
        run_toy(victim, status="diverged", diverged_step=7, metrics={"validation_loss": None})
    ]
    plan, _, _ = finish(toy_suite, records)
    selected = [i for i in evaluation(plan, "adamw") if i.planned.selected]
    assert [i.planned.trial.seed for i in selected] == [100, 101, 102]
    assert selected[0].planned.hyperparameters["optimizer.lr"] == 2.0**-8
    assert any("second selection" in n for n in plan.notes)


def test_a_record_without_a_wanted_probe_runs_again(toy_suite, tmp_path):
    plan, records, _ = finish(toy_suite)
    wanting = toy_suite.model_copy(update={"probes": {"spectra": {"steps": 4}}})
    again = make_plan(wanting, records, tmp_path)
    assert {i.planned.role for i in again.pending} == {"evaluation"}
    assert "lacks probe 'spectra'" in again.pending[0].why
    assert {i.planned.trial.identity for i in again.items} == {i.planned.trial.identity for i in plan.items}


def test_only_keeps_arms_and_cells(toy_suite, tmp_path):
    plan = make_plan(toy_suite, RecordSet(), tmp_path, only={"arm": {"muon"}, "size": {"small"}})
    assert {(i.planned.arm, i.planned.cell["size"]) for i in plan.items} == {("muon", "small")}


def test_only_an_arm_that_takes_hyperparameters_plans_their_source(toy_suite, tmp_path):
    plan = make_plan(toy_suite, RecordSet(), tmp_path, only={"arm": {"moved"}})
    assert {i.planned.arm for i in plan.items} == {"adamw"}


def test_sweep_closes_its_edges_per_cell(toy_workload):
    raw = {k: v for k, v in TOY_SUITE.items() if k != "tuning"}
    raw["arms"] = {"adamw": {"optimizer": {"name": "adamw"}}}
    raw["sweep"] = {"space": {"optimizer.lr": {"log2": [-6, -4]}}, "closure": 4}
    plan, _, _ = finish(Suite.model_validate(raw))
    lrs = {math.log2(i.planned.hyperparameters["optimizer.lr"]) for i in plan.items}
    assert lrs == {-8, -7, -6, -5, -4}
    assert not plan.notes


def test_sweep_around_another_cells_optimum(toy_workload):
    raw = {k: v for k, v in TOY_SUITE.items() if k != "tuning"}
    raw["arms"] = {"adamw": {"optimizer": {"name": "adamw"}}}
    raw["sweep"] = {
        "space": {"optimizer.lr": {"log2": [-9, -4]}},
        "around": {"axis": "size", "value": "large", "near": "small", "points": 3},
    }
    plan, _, _ = finish(Suite.model_validate(raw))
    large = {
        math.log2(i.planned.hyperparameters["optimizer.lr"])
        for i in plan.items
        if i.planned.cell["size"] == "large"
    }
    assert large == {-8, -7, -6}


def test_sweep_around_also_runs_what_a_transfer_needs_with_seeds_of_its_own(toy_workload):
    raw = {k: v for k, v in TOY_SUITE.items() if k != "tuning"}
    raw["arms"] = {"adamw": {"optimizer": {"name": "adamw"}}}
    small = {"model": {"width": 8}, "best_log2_lr": -5.0}
    raw["axes"] = {
        "size": {"values": {"small": small, "middle": {"model": {"width": 16}}, "large": {"model": {"width": 32}}}}
    }
    raw["sweep"] = {
        "space": {"optimizer.lr": {"log2": [-9, -4]}},
        "around": {
            "axis": "size", "value": "large", "near": "middle", "points": 5, "transfer_from": "small", "seeds": 2,
        },
    }
    plan, _, _ = finish(Suite.model_validate(raw))
    large = [i.planned for i in plan.items if i.planned.cell["size"] == "large"]
    assert {math.log2(p.hyperparameters["optimizer.lr"]) for p in large} == {-9, -8, -7, -6, -5, -4}
    assert {p.trial.seed for p in large} == {0, 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": "sise"}, "unknown axis 'sise'.*Did you mean 'size'"),
        ({"near": "medium"}, "sweep.around.near.*small"),
        ({"value": "small"}, "near 'small' must come before value 'small'"),
        ({"points": 4}, "points 4 must be odd"),
    ],
)
def test_a_mistaken_around_is_named(change, message):
    raw = {k: v for k, v in TOY_SUITE.items() if k != "tuning"}
    around = {"axis": "size", "value": "large", "near": "small", **change}
    raw["sweep"] = {"space": {"optimizer.lr": {"log2": [-9, -4]}}, "around": around}
    with pytest.raises(ValueError, match=message):
        Suite.model_validate(raw)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"arms": {"a": {"optimizer": {"name": "adamv"}}}},
            r"unknown optimizer 'adamv'.*Did you mean 'adamw'",
        ),
        (
            {"arms": {"a": {"optimizer": {"name": "adamw", "bta1": 0.5}}}},
            r"unknown key of optimizer 'adamw' 'bta1'.*beta1",
        ),
        (
            {"base": {"modle": {}}},
            r"toy.yaml: arm 'adamw', size small: modle: unknown key 'modle'.*Did you mean 'model'",
        ),
        ({"base": {"model": {"width": "wide"}}, "axes": {}}, r"key 'model.width'.*got 'wide'"),
        ({"workload": "languge_model"}, r"unknown workload 'languge_model'.*language_model"),
    ],
)
def test_mistakes_are_named_with_place_and_valid_values(toy_workload, tmp_path, change, message):
    with pytest.raises(HarnessError, match=message):
        make_plan(Suite.model_validate({**TOY_SUITE, **change}), RecordSet(), tmp_path)


def test_ten_thousand_trials_plan(toy_workload, tmp_path):
    """Size, not time: the timing lives in tests/benchmarks."""
    raw = {k: v for k, v in TOY_SUITE.items() if k != "tuning"}
    raw.update(
        seeds=1000,
        arms={"adamw": {"optimizer": {"name": "adamw"}}},
        sweep={"space": {"optimizer.lr": {"log2": [-9, -5]}}},
    )
    began = time.monotonic()
    plan = make_plan(Suite.model_validate(raw), RecordSet(), tmp_path)
    assert len({i.planned.trial.identity for i in plan.items}) == 10_000
    print(f"{time.monotonic() - began:.2f} s")


# --- several records of one trial ----------------------------------------------------------------------------


def in_class(record, name, shift=0.0):
    """The record as a machine of another numerics class would have left it."""
    metrics = {k: v + shift for k, v in record.metrics.items()}
    return record.model_copy(update={"numerics_class": name, "metrics": metrics})


@pytest.mark.parametrize("order", [1, -1])
def test_the_numerics_class_that_covers_most_of_the_plan_counts_whatever_came_last(toy_suite, tmp_path, order):
    plan, _, _ = finish(toy_suite)
    everything = [i.record for i in plan.items]
    few = [in_class(r, "a newer machine", 0.5) for r in everything[:3]]
    both = RecordSet()
    for record in [*everything, *few][::order]:
        both.add(record)
    again = make_plan(toy_suite, both, tmp_path)
    assert not again.pending
    assert {i.record.numerics_class for i in again.items} == {"toy"}


def test_coverage_is_of_this_plan_not_of_the_store(toy_workload, tmp_path):
    small = Suite.model_validate({**TOY_SUITE, "axes": {}})
    wide = Suite.model_validate({**TOY_SUITE, "axes": {}, "base": {"model": {"width": 32}}})
    plan, records, _ = finish(small)
    here = [i.record for i in plan.items]
    for record in here[:5]:
        records.discard(record)
    for record in here:
        records.add(in_class(record, "elsewhere"))
    other, _, _ = finish(wide, records)
    assert {i.record.numerics_class for i in other.items} == {"toy"}
    again = make_plan(small, records, tmp_path)
    assert not again.pending
    assert {i.record.numerics_class for i in again.items} == {"elsewhere"}


def test_a_failed_record_never_stands_before_a_finished_one(toy_suite, tmp_path):
    plan, records, _ = finish(toy_suite)
    t = evaluation(plan, "muon")[0].planned.trial
    for name in ("before", "zuletzt"):
        records.add(run_toy(t, numerics_class=name, status="crashed", reason="signal 9"))
    assert not make_plan(toy_suite, records, tmp_path).pending


def test_a_record_with_the_wanted_probe_stands_before_one_of_the_covering_class(toy_suite, tmp_path):
    _, records, _ = finish(toy_suite)
    wanting = toy_suite.model_copy(update={"probes": {"spectra": {"steps": 4}}})
    table = {"columns": [], "rows": [], "about": {"asked": {"steps": 4}}}
    for item in make_plan(wanting, records, tmp_path).pending:
        records.add(run_toy(item.planned.trial, numerics_class="elsewhere", probes={"spectra": table}))
    again = make_plan(wanting, records, tmp_path)
    assert not again.pending
    assert {i.record.numerics_class for i in again.items if i.planned.role == "evaluation"} == {"elsewhere"}


def test_what_the_present_code_made_stands_before_an_accepted_record_and_refutes_it(toy_suite, tmp_path):
    plan, records, _ = finish(toy_suite)
    now = evaluation(plan, "adamw")[0].record
    old = now.model_copy(update={"fingerprint": {"baselines.optimizers.adamw": "old"}})
    accepted = {(now.identity, code_of(old), digest(now.fingerprint)[:16]): "comments only"}
    records.add(old)
    agreeing = make_plan(toy_suite, records, tmp_path, accepted)
    assert not agreeing.notes
    records.add(old.model_copy(update={"metrics": {**old.metrics, "test_loss": 1.0}}))
    again = make_plan(toy_suite, records, tmp_path, accepted)
    assert next(i for i in again.items if i.planned.trial.identity == now.identity).record == now
    assert [n for n in again.notes if "disagrees with one that this code made (test_loss 1.0 before" in n]


# --- searches that find nothing ------------------------------------------------------------------------------


def test_a_search_in_which_all_diverged_is_told_and_promises_no_more(toy_workload):
    raw = {**TOY_SUITE, "base": {"diverges_above": 0.0}}
    plan, _, _ = finish(Suite.model_validate(raw))
    assert plan.more == 0
    assert "arm 'adamw', size small: no hyperparameters chosen: every point diverged" in plan.notes
    assert "arm 'moved', size small: left out: arm 'adamw' has no hyperparameters to take" in plan.notes


def test_a_sweep_in_which_all_diverged_leaves_out_the_cells_round_it(toy_workload):
    raw = {k: v for k, v in TOY_SUITE.items() if k != "tuning"}
    raw["arms"] = {"adamw": {"optimizer": {"name": "adamw"}}}
    raw["base"] = {"diverges_above": 0.0}
    raw["sweep"] = {
        "space": {"optimizer.lr": {"log2": [-9, -8]}},
        "around": {"axis": "size", "value": "large", "near": "small", "points": 3},
    }
    plan, _, _ = finish(Suite.model_validate(raw))
    assert plan.more == 0
    assert "arm 'adamw', size large: left out: size small has no optimum to run near" in plan.notes


def test_time_beyond_the_known_trials_grows_as_among_them(toy_workload, tmp_path):
    def plan_of(width: int, records: RecordSet):
        raw = {**TOY_SUITE, "axes": {"size": {"values": {"only": {"model": {"width": width}}}}}}
        return make_plan(Suite.model_validate(raw), records, tmp_path).items

    records = RecordSet()
    for width in (8, 16, 32):
        trial = plan_of(width, RecordSet())[0].planned.trial
        records.add(run_toy(trial, seconds={"total": 0.01 * width**0.8}))
    assert estimate_seconds(plan_of(16, records), records)[0] == pytest.approx(0.01 * 16**0.8)
    assert estimate_seconds(plan_of(1024, records), records)[0] == pytest.approx(0.01 * 1024**0.8)
    # Records of CPUs say nothing of a GPU.
    raw = {**TOY_SUITE, "axes": {}, "base": {"compute": {"device": "cuda"}}}
    on_gpu = make_plan(Suite.model_validate(raw), records, tmp_path).items
    assert estimate_seconds(on_gpu, records)[0] == pytest.approx(1.0, rel=1e-3)


def test_an_aa_arm_tunes_for_itself_on_seeds_of_its_own(toy_workload):
    again = {"optimizer": {"name": "adamw"}, "first_seed": 50}
    arms = {"adamw": {"optimizer": {"name": "adamw"}}, "again": again}
    plan = finish(Suite.model_validate({**TOY_SUITE, "arms": arms}))[0]
    seeds = {
        (i.planned.arm, i.planned.role): {j.planned.trial.seed for j in plan.items if j.planned.arm == i.planned.arm
                                          and j.planned.role == i.planned.role}
        for i in plan.items
    }  # fmt: skip
    assert seeds["again", "tuning"] == {1050} and seeds["adamw", "tuning"] == {1000}
    assert not seeds["again", "evaluation"] & seeds["adamw", "evaluation"]

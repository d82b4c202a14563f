"""A language model with experts: resumed, accumulated, evaluated in any order it is the same; bad input is named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness import registry
from harness.errors import HarnessError
from harness.fingerprint import trial_fingerprint
from harness.trial import Trial
from harness.workload import Outcome
from harness.workloads import language_model
from harness.workloads import mixture_language_model as workload
from harness.workloads._language_task import LanguageTask
from harness.workloads._mixture_task import MixtureTask
from tests.workloads import tiny

EXPERTS = {"number": 4, "width": 8, "active": 2}


def raw(router: str | dict[str, Any] = "loss_free", experts: dict[str, Any] | None = None, **sections: Any) -> dict:
    named = {"name": router} if isinstance(router, str) else router
    return {**tiny.raw(**sections), "experts": {**EXPERTS, **(experts or {})}, "router": named}


def config(*arguments: Any, **sections: Any) -> workload.Config:
    return workload.Config.model_validate(raw(*arguments, **sections))


def task(*arguments: Any, **sections: Any) -> MixtureTask:
    return MixtureTask(config(*arguments, **sections), tiny.TinyCorpus(), 0)


def run(folder: Path, *arguments: Any, fields: dict[str, Any] | None = None, **sections: Any) -> Outcome:
    settings = raw(*arguments, **sections)
    trial = Trial(workload="mixture_language_model", config=settings, seed=0)
    return workload.run(trial, workload.Config.model_validate(settings), tiny.context(folder, **(fields or {})))


def numbers(outcome: Outcome) -> tuple:
    clocks = ("seconds_training", "tokens_per_second")
    return ({k: v for k, v in outcome.metrics.items() if k not in clocks}, outcome.curves, outcome.tables)


ROUTERS = [entry.name for entry in registry.entries("router")]


@pytest.mark.parametrize("router", ROUTERS)
def test_every_router_trains_and_leaves_every_number_that_is_declared(router: str, tmp_path: Path) -> None:
    outcome = run(tmp_path, router)
    assert outcome.diverged_step is None
    missing = set(workload.METRICS) - set(outcome.curves) - set(outcome.metrics)
    assert not missing and all(v is not None for v in outcome.metrics.values())
    assert {"max_violation", "mean_active", "auxiliary_loss", "bias_spread"} <= set(outcome.curves)
    load = outcome.tables["expert_load"]
    assert len(load.rows) == 2 * 4 and sum(r[2] for r in load.rows) == pytest.approx(
        outcome.metrics["mean_active_test"] * 480 * 2
    )


@pytest.mark.parametrize("router", ["loss_free", "bias_threshold", "quantile", "relu", "top_p"])
@pytest.mark.parametrize("at", [1, 6, 11])
def test_a_resumed_run_is_bit_identical_with_its_routers_state(
    router: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole", router)
    every = {"checkpoint_seconds": 0.0, "checkpoint_token": "code"}
    batch = LanguageTask.batch

    def killing(self: LanguageTask, step: int, part: int) -> torch.Tensor:
        if step == at:
            raise tiny.KilledError
        return batch(self, step, part)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageTask, "batch", killing)
        with pytest.raises(tiny.KilledError):
            run(tmp_path / "cut", router, fields=every)
    resumed = run(tmp_path / "cut", router, fields=every)
    assert resumed.resumed == 1 and numbers(resumed) == numbers(whole)


@pytest.mark.parametrize("router", ["loss_free", "bias_threshold", "quantile_threshold"])
def test_accumulation_gives_the_counts_and_the_state_of_the_whole_batch(router: str) -> None:
    whole, parts = task(router), task(router, training={"gradient_accumulation": 4})
    for t, count in ((whole, 1), (parts, 4)):
        for part in range(count):
            t.loss(t.batch(0, part))
        t.after_step(0)
    assert torch.equal(whole.history.counts, parts.history.counts)
    for a, b in zip(whole.layers, parts.layers, strict=True):
        assert all(torch.equal(v, b.state.values()[k]) for k, v in a.state.values().items())


def test_the_routers_loss_is_in_the_gradient_and_not_in_the_value() -> None:
    strong = {"name": "auxiliary_loss", "coefficient": 10.0}
    with_loss, without = task(strong), task({"name": "auxiliary_loss", "coefficient": 0.0})
    a, b = with_loss.loss(with_loss.batch(0, 0)), without.loss(without.batch(0, 0))
    assert torch.equal(a, b)
    a.backward()
    b.backward()
    scores = [t.layers[0].scores.weight.grad for t in (with_loss, without)]
    assert not torch.allclose(scores[0], scores[1])
    with_loss.after_step(0)
    without.after_step(0)
    assert with_loss.history.auxiliary[0] > 10.0 and without.history.auxiliary[0] == 0.0


def test_a_coefficient_of_zero_is_top_k_bit_for_bit(tmp_path: Path) -> None:
    none = run(tmp_path / "a", {"name": "auxiliary_loss", "coefficient": 0.0})
    assert numbers(none) == numbers(run(tmp_path / "b", "top_k"))


def test_training_and_evaluation_in_any_order_change_nothing() -> None:
    often, rarely = task("bias_threshold"), task("bias_threshold")
    for step in range(3):
        for t in (often, rarely):
            t.loss(t.batch(step, 0)).backward()
            t.optimizer.step()
            t.optimizer.zero_grad()
            if t is often:
                t.evaluate("validation")
                t.forward(t.probe_batch(2))
            t.after_step(step)
            if t is often:
                t.test()
    assert torch.equal(often.history.counts, rarely.history.counts)
    assert often.test()[0] == rarely.test()[0] == often.evaluate("test")


def test_a_sequence_has_the_loss_alone_that_it_has_in_a_batch() -> None:
    t = task("bias_threshold")
    items = t.items("test", t.held_out("test"))
    with torch.no_grad():
        t.model.eval()
        together = t._losses(items)[1]
        alone = torch.cat([t._losses(items[n : n + 1])[1] for n in range(len(items))])
    assert torch.allclose(together, alone, atol=1e-6)


def test_flops_are_measured_and_meet_the_plan_where_the_number_is_fixed(tmp_path: Path) -> None:
    fixed = run(tmp_path / "a", "loss_free").metrics
    assert fixed["flops"] == fixed["flops_at_budget"] == workload.cost(config("loss_free"), 256).flops
    all_run = run(tmp_path / "b", {"name": "quantile_threshold", "start": "zero", "ema": 0.99}).metrics
    per_expert = 3 * 2 * 2 * 8 * 16 * 2  # backward twice forward, 2 mkn, two matrices, two blocks
    extra = all_run["expert_evaluations"] / 2 - 2
    assert extra > 1
    assert all_run["flops"] - all_run["flops_at_budget"] == pytest.approx(per_expert * extra * 12 * 64)


@pytest.mark.parametrize("feed_forward", ["relu2", "swiglu"])
@pytest.mark.parametrize("shared", [0, 1])
def test_cost_counts_the_matrices_of_the_model_that_is_built(feed_forward: str, shared: int) -> None:
    t = task("loss_free", {"shared": shared}, model={"feed_forward": feed_forward})
    shapes = t.config.size(256).shapes()
    built = [tuple(p.shape) for p in t.model.parameters() if p.dim() > 1]
    assert sorted(s for _, s in shapes) == sorted(built)
    stored = sum(p.numel() for n, p in t.model.named_parameters() if p.dim() > 1 and n.startswith("blocks"))
    assert t.config.size(256).matrix_parameters == stored
    assert t.config.size(256).active_parameters(4.0) == stored


def test_muon_takes_each_expert_as_a_matrix_and_leaves_the_router_to_adam(tmp_path: Path) -> None:
    t = task("loss_free", optimizer={"name": "muon", "lr": 0.02})
    families = {name: t.families[g.role] for g in t.groups for name in g.names}
    assert families["blocks.0.feed_forward.up.weight"] == "muon"
    assert families["blocks.0.feed_forward.scores.weight"] == "adam"
    assert run(tmp_path, optimizer={"name": "muon", "lr": 0.02}).diverged_step is None


def test_mup_scales_the_router_as_a_readout() -> None:
    t = task("loss_free", model={"width": 32, "base_width": 16}, parametrization={"name": "mup"})
    assert t.layers[0].scores.multiplier == t.model.readout.multiplier == 0.5


def test_a_dense_arm_is_the_dense_language_model(tmp_path: Path) -> None:
    settings = {**tiny.raw(), "experts": None, "router": None}
    trial = Trial(workload="mixture_language_model", config=settings, seed=0)
    dense = workload.run(trial, workload.Config.model_validate(settings), tiny.context(tmp_path / "a"))
    assert dense.curves == tiny.run(tmp_path / "b").curves


def test_its_losses_are_those_of_its_stored_weights(tmp_path: Path) -> None:
    settings = raw("bias_threshold")
    trial = Trial(workload="mixture_language_model", config=settings, seed=0)
    context = tiny.context(tmp_path, weights_file=tmp_path / "weights.pt")
    outcome = workload.run(trial, workload.Config.model_validate(settings), context)
    again = workload.evaluate(trial, workload.Config.model_validate(settings), context)
    assert all(outcome.metrics[name] == value for name, value in again.metrics.items())
    assert again.tables == {k: t for k, t in outcome.tables.items() if k != workload.LOAD_OVER_TRAINING}


def test_dense_trials_rest_on_nothing_of_it() -> None:
    dense = Trial(workload="language_model", config=tiny.raw(), seed=0)
    reached = trial_fingerprint(dense)
    assert not {m for m in reached if "mixture" in m or "expert" in m or "router" in m}
    mine = trial_fingerprint(Trial(workload="mixture_language_model", config=raw("loss_free"), seed=0))
    assert {"harness.models.experts", "baselines.routers.loss_free", "baselines.routers._scores"} <= set(mine)
    assert "baselines.routers.quantile" not in mine


@pytest.mark.parametrize(("arguments", "sections", "message"), [
    (("loss_free", {"active": 5}), {}, "active 5 is above the number of experts, 4"),
    (("loss_free", {"active": 0}), {}, "greater than 0"),
    (("loss_free", {"width": 6}), {}, r"experts.width 6 is no multiple of 4.*give 4 or 8"),
    (("loss_free", {"width": 12}), {"compute": {"dtype": "bfloat16"}}, r"experts.width 12 .* 8.*give 8 or 16"),
    (("auxiliary_loss",), {"training": {"gradient_accumulation": 2}}, "it would see a part of the batch"),
])  # fmt: skip
def test_a_bad_config_names_key_value_and_fix(arguments: tuple, sections: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(*arguments, **sections)


def test_experts_and_router_come_together() -> None:
    for given, missing in (("experts", "router"), ("router", "experts")):
        with pytest.raises(ValidationError, match=f"{given} without {missing}: give both"):
            workload.Config.model_validate({**raw(), missing: None})


@pytest.mark.parametrize(("arguments", "sections", "message"), [
    (("loss_free", {"active": 1.5}), {}, "whole number from 1 to 4"),
    (({"name": "top_k", "gates": "normalised"}, {"active": 1}), {}, "give gates: raw"),
    (("bias_threshold",), {"compute": {"compile": True}}, "varying numbers of experts.*give compile: false"),
])  # fmt: skip
def test_a_budget_or_a_compilation_that_the_router_cannot_have_is_refused_at_planning(
    arguments: tuple, sections: dict, message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        workload.cost(config(*arguments, **sections))


def test_a_diverged_trial_keeps_its_curves_and_no_losses(tmp_path: Path) -> None:
    outcome = run(tmp_path, optimizer={"name": "adamw", "lr": 1e4}, training={"divergence_factor": 1.2})
    assert outcome.diverged_step and outcome.metrics["test_loss"] is None
    assert len(outcome.curves["max_violation"].steps) == outcome.diverged_step


def test_a_trial_that_diverges_at_its_first_step_is_diverged_too(tmp_path: Path) -> None:
    outcome = run(tmp_path, training={"divergence_factor": 1.0000001}, optimizer={"name": "adamw", "lr": 1e4})
    assert outcome.diverged_step == 0 and outcome.curves["train_loss"].steps == []


def test_planning_it_imports_no_dense_workloads_torch() -> None:
    assert language_model.METHODS.items() <= workload.METHODS.items()
    assert workload.METHODS["router"] == "router"

"""Language modelling with experts: each block's feed-forward network is a mixture that a router spreads tokens
over.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.methods.construct import build
from harness.trial import Trial
from harness.workload import Context, Cost, Metric, Outcome
from harness.workloads import language_model
from harness.workloads._mixture_sections import Config

if TYPE_CHECKING:
    from harness.workloads._mixture_task import MixtureTask

METHODS = {**language_model.METHODS, "router": "router"}
"""Config section -> kind of method."""

LOAD_OVER_TRAINING = "load_over_training"
"""Table of every expert's load over the mean load, in stretches of training."""

METRICS = {
    **language_model.METRICS,
    "flops": Metric(label="training FLOPs, as measured", compared=True),
    "flops_at_budget": Metric(label="training FLOPs at the budget"),
    "parameters": Metric(label="active parameters (no embedding)"),
    "parameters_stored": Metric(label="stored parameters (no embedding)"),
    "max_violation": Metric(label="largest load over the mean, less 1"),
    "mean_active": Metric(label="experts a token"),
    "auxiliary_loss": Metric(label="router's loss", unit="nats per token"),
    "bias_spread": Metric(label="spread of the router's state"),
    "max_violation_batch": Metric(label="largest load over the mean, less 1, in training", shown=True),
    "max_violation_test": Metric(label="largest load over the mean, less 1, on the test split"),
    "max_violation_test_worst": Metric(label="largest load over the mean, less 1, of the worst layer"),
    "max_violation_floor_batch": Metric(label="largest load by chance, in training"),
    "max_violation_floor_test": Metric(label="largest load by chance, on the test split"),
    "load_cv_test": Metric(label="variation of the load on the test split"),
    "load_entropy_test": Metric(label="entropy of the load on the test split", better="higher"),
    "starved_experts": Metric(label="experts with under a tenth of the mean load"),
    "steps_to_balance": Metric(label="steps until the load is balanced", unit="steps"),
    "balanced": Metric(label="whether the load became balanced", better="higher"),
    "mean_active_train": Metric(label="experts a token, in training"),
    "mean_active_test": Metric(label="experts a token, on the test split", shown=True),
    "budget_error_train": Metric(label="relative error of the budget, in training"),
    "budget_error_test": Metric(label="relative error of the budget, on the test split"),
    "budget_fluctuation": Metric(label="fluctuation of the budget over steps"),
    "steps_to_budget": Metric(label="steps until the budget is held", unit="steps"),
    "in_budget": Metric(label="whether the budget was ever held", better="higher"),
    "tokens_without_expert": Metric(label="tokens without any expert"),
    "active_sd": Metric(label="standard deviation of the experts a token"),
    "active_loss_spearman": Metric(label="rank correlation of experts and loss"),
    "active_easiest_tenth": Metric(label="experts of the easiest tenth of tokens over the mean"),
    "active_hardest_tenth": Metric(label="experts of the hardest tenth of tokens over the mean"),
    "active_hardest_tenth_in_class": Metric(
        label="experts of the hardest tenth of each class of bytes over the class's mean"
    ),
    "expert_evaluations": Metric(label="expert evaluations a token, over the run"),
    "auxiliary_loss_final": Metric(label="router's loss at the end", unit="nats per token"),
}
"""Metric -> what readers, estimators and the gate must know of it; curves go by the same names."""


def data_spec(config: Config) -> Mapping[str, Any]:
    """The corpus, for ``harness.data``."""
    return config.data


def cost(config: Config, vocab_size: int | None = None) -> Cost:
    """FLOPs of model and optimizer at the budget, by formula.

    Raises HarnessError for a budget that the router cannot hold.
    """
    if config.experts is None or config.router is None:
        return language_model.cost(config, vocab_size)
    router = build("router", config.router, "router")
    router.init(config.experts.number, config.experts.active, 1.0)
    if config.compute.compile and not router.fixed:
        raise HarnessError(
            f"compute.compile true: router {config.router['name']!r} gives tokens varying numbers of experts, and "
            "every number of pairs would be compiled anew; give compile: false"
        )
    size = config.size(vocab_size or language_model.vocabulary(config))
    tokens = config.steps * config.tokens_per_step
    optimizer = build("optimizer", config.optimizer, "optimizer")
    return Cost(
        flops=size.training_flops(config.model.context, tokens, config.experts.active)
        + optimizer.flops_per_step(size.shapes()) * config.steps,
        parameters=round(size.active_parameters(config.experts.active)),
        tokens=tokens,
    )


def run(trial: Trial, config: Config, context: Context) -> Outcome:
    """Train and evaluate. Metrics: a language model's, and METRICS' own; a dense trial has the former alone."""
    if config.experts is None:
        return language_model.run(trial, config, context)
    from harness.data.corpus import load
    from harness.workloads._mixture_task import MixtureTask

    start = time.perf_counter()
    corpus = load(config.data, context.data_folder, trial.data or None)
    task = MixtureTask(config, corpus, trial.seed)
    metrics = _planned(config, corpus.vocab_size)
    outcome = language_model.learn(task, trial, context, metrics, time.perf_counter() - start)
    _report(outcome, task, corpus.vocab_size)
    return outcome


def evaluate(trial: Trial, config: Config, context: Context) -> Outcome:
    """Losses of the weights that a run left, and the load on the test split, without what trained them."""
    if config.experts is None:
        return language_model.evaluate(trial, config, context)
    import torch

    from harness.data.corpus import load
    from harness.workloads._mixture_task import MixtureTask

    assert context.weights_file is not None
    weights = torch.load(context.weights_file, map_location="cpu", weights_only=True)
    corpus = load(config.data, context.data_folder, trial.data or None)
    task = MixtureTask(config, corpus, trial.seed, weights=weights)
    validation, (test, tables) = task.evaluate("validation"), task.test()
    losses = {"validation_loss": validation, "test_loss": test}
    metrics = {**losses, **language_model.in_bits(task, losses), **_on_test(task)}
    return Outcome(metrics=metrics, tables=dict(tables))


def _planned(config: Config, vocab_size: int) -> dict[str, float]:
    """Metrics that follow from the config; FLOPs at the budget until they are measured."""
    assert config.experts is not None
    total, size = cost(config, vocab_size), config.size(vocab_size)
    flops_model = size.training_flops(config.model.context, total.tokens, config.experts.active)
    return {
        "flops": total.flops,
        "flops_at_budget": total.flops,
        "flops_model": flops_model,
        "flops_optimizer": total.flops - flops_model,
        "parameters": float(total.parameters),
        "parameters_stored": float(size.matrix_parameters),
        "tokens": float(total.tokens),
        "model_width": float(config.model.width),
        "tokens_per_step": float(config.tokens_per_step),
    }


def _report(outcome: Outcome, task: MixtureTask, vocab_size: int) -> None:
    """Put the load's numbers and curves into a finished trial's outcome."""
    from harness.workloads import _mixture_metrics as found

    config, history = task.config, task.history
    assert config.experts is not None
    done = config.steps if outcome.diverged_step is None else outcome.diverged_step
    counts = history.counts[:done].cpu().numpy().astype("int64")
    if not len(counts):
        return
    tokens, active = config.tokens_per_step, config.experts.active
    auxiliary = history.auxiliary[:done].double().cpu().numpy()
    outcome.curves.update(found.curves(counts, auxiliary, history.spread[:done].double().cpu().numpy(), tokens))
    if outcome.diverged_step is not None:
        return
    of_training = found.of_training(counts, tokens, active)
    outcome.tables[LOAD_OVER_TRAINING] = found.over_training(counts)
    outcome.metrics.update({**of_training, **_on_test(task)})
    outcome.metrics["auxiliary_loss_final"] = float(auxiliary[-max(1, round(found.LAST * done)) :].mean())
    mean_active = counts.sum() / (done * tokens * config.model.depth)
    flops_model = config.size(vocab_size).training_flops(config.model.context, done * tokens, float(mean_active))
    outcome.metrics["flops_model"] = flops_model
    outcome.metrics["flops"] = flops_model + float(outcome.metrics["flops_optimizer"] or 0.0)


def _on_test(task: MixtureTask) -> dict[str, float | None]:
    """Metrics of the last look at the test split."""
    import numpy as np

    from harness.workloads._mixture_metrics import of_test

    assert task.config.experts is not None
    counts = np.stack([c.numpy() for c in task.last.counts])
    classes = task.last.classes_of_tokens(task.corpus.vocab_size)
    experts, losses = task.last.experts_of_tokens(), task.last.losses_of_tokens()
    return of_test(counts, experts, losses, classes, task.config.experts.active)

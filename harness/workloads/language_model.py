"""Language modelling: a decoder-only transformer learns to predict the next token of a text."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.methods.construct import build
from harness.models.transformer_size import training_flops
from harness.trial import Trial
from harness.workload import Context, Cost, Metric, Outcome
from harness.workloads._language_sections import Config

if TYPE_CHECKING:
    from harness.workloads._language_task import LanguageTask

METHODS = {"optimizer": "optimizer", "parametrization": "parametrization", "norm": "norm"}
"""Config section -> kind of method."""

METRICS = {
    "test_loss": Metric(
        label="test loss", unit="nats per token", cap="trivial_loss", shown=True, compared=True
    ),
    "validation_loss": Metric(label="validation loss", unit="nats per token", cap="trivial_loss", compared=True),
    "train_loss": Metric(label="training loss", unit="nats per token", cap="trivial_loss"),
    "train_loss_final": Metric(label="training loss, last tenth", unit="nats per token", cap="trivial_loss"),
    "trivial_loss": Metric(label="trivial loss", unit="nats per token"),
    "test_bits_per_byte": Metric(label="test bits per byte", shown=True),
    "validation_bits_per_byte": Metric(label="validation bits per byte"),
    "flops": Metric(label="training FLOPs", compared=True),
    "flops_model": Metric(label="model FLOPs"),
    "flops_optimizer": Metric(label="optimizer FLOPs"),
    "parameters": Metric(label="parameters (no embedding)"),
    "parameters_total": Metric(label="parameters, embedding included"),
    "tokens": Metric(label="training tokens"),
    "steps": Metric(label="steps"),
    "model_width": Metric(label="width"),
    "tokens_per_step": Metric(label="tokens a step"),
    "tokens_per_second": Metric(label="tokens per second"),
    "seconds_training": Metric(label="training time", unit="s"),
}
"""Metric -> what readers, estimators and the gate must know of it; curves go by the same names."""

BPE_VOCABULARY = 4096
"""Tokens of a byte-pair tokenizer where the config names no number; for cost estimates alone."""


def data_spec(config: Config) -> Mapping[str, Any]:
    """The corpus, for ``harness.data``."""
    return config.data


def vocabulary(config: Config) -> int:
    """Vocabulary as far as the config tells; the corpus itself decides in training."""
    if config.data.get("vocab_size"):
        return int(config.data["vocab_size"])
    return BPE_VOCABULARY if config.data.get("tokenizer") == "bpe" else 256


def cost(config: Config, vocab_size: int | None = None) -> Cost:
    """FLOPs of model and optimizer, by formula."""
    size = config.model.size(vocab_size or vocabulary(config))
    tokens = config.steps * config.tokens_per_step
    optimizer = build("optimizer", config.optimizer, "optimizer")
    return Cost(
        flops=training_flops(size, config.model.context, tokens)
        + optimizer.flops_per_step(size.shapes()) * config.steps,
        parameters=size.matrix_parameters,
        tokens=tokens,
    )


def run(trial: Trial, config: Config, context: Context) -> Outcome:
    """Train and evaluate. Metrics: those of ``learn`` and of ``planned``."""
    from harness.data.corpus import load
    from harness.workloads._language_task import LanguageTask

    start = time.perf_counter()
    corpus = load(config.data, context.data_folder, trial.data or None)
    task = LanguageTask(config, corpus, trial.seed)
    return learn(task, trial, context, planned(config, corpus.vocab_size), time.perf_counter() - start)


def evaluate(trial: Trial, config: Config, context: Context) -> Outcome:
    """Losses of the weights that a run left, and what follows from them, without what trained them."""
    import torch

    from harness.data.corpus import load
    from harness.workloads._language_task import LanguageTask

    assert context.weights_file is not None
    weights = torch.load(context.weights_file, map_location="cpu", weights_only=True)
    corpus = load(config.data, context.data_folder, trial.data or None)
    task = LanguageTask(config, corpus, trial.seed, weights=weights)
    validation, (test, tables) = task.evaluate("validation"), task.test()
    losses = {"validation_loss": validation, "test_loss": test}
    return Outcome(metrics={**losses, **in_bits(task, losses)}, tables=dict(tables))


def planned(config: Config, vocab_size: int) -> dict[str, float]:
    """Metrics that follow from the config: flops (all), flops_model, flops_optimizer, parameters (the blocks'
    matrices), tokens, model_width, tokens_per_step.
    """
    total = cost(config, vocab_size)
    flops_model = training_flops(config.model.size(vocab_size), config.model.context, total.tokens)
    return {
        "flops": total.flops,
        "flops_model": flops_model,
        "flops_optimizer": total.flops - flops_model,
        "parameters": float(total.parameters),
        "tokens": float(total.tokens),
        "model_width": float(config.model.width),
        "tokens_per_step": float(config.tokens_per_step),
    }


def learn(
    task: LanguageTask, trial: Trial, context: Context, metrics: Mapping[str, float], setup_seconds: float
) -> Outcome:
    """Train and evaluate any language task, with these metrics beside those of harness.training.train.

    Adds parameters_total, validation_bits_per_byte, test_bits_per_byte, tokens_per_second; losses are in nats a
    token.
    """
    import torch

    from harness.training import train

    outcome = train(
        task, task.config.training, context, identity=trial.identity, setup_seconds=setup_seconds,
        metrics={**metrics, "parameters_total": float(task.parameters_total)},
    )
    outcome.metrics.update(in_bits(task, outcome.metrics))
    if context.weights_file is not None:
        torch.save(task.weights(), context.weights_file)
    seconds = outcome.metrics["seconds_training"]
    finished = outcome.diverged_step is None
    outcome.metrics["tokens_per_second"] = metrics["tokens"] / seconds if seconds and finished else None
    return outcome


def in_bits(task: LanguageTask, losses: Mapping[str, float | None]) -> dict[str, float | None]:
    """validation_bits_per_byte and test_bits_per_byte."""
    return {
        f"{split}_bits_per_byte": bits_per_byte(losses[f"{split}_loss"], bytes_per_token(task.corpus, split))
        for split in ("validation", "test")
    }


def bytes_per_token(corpus: Any, split: str) -> float:
    """Bytes behind a token of this split, where the corpus tells them apart; NaN if unknown."""
    of = getattr(corpus, "bytes_per_token_of", None)
    return float(of(split) if of else corpus.bytes_per_token)


def bits_per_byte(nats_per_token: float | None, bytes_per_token: float) -> float | None:
    """Loss that compares across tokenizers; None if either number is unknown."""
    if nats_per_token is None or not bytes_per_token > 0:
        return None
    return nats_per_token / math.log(2) / bytes_per_token

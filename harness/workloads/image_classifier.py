"""Image classification: a vision transformer learns to tell classes of pictures apart."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.methods.construct import build
from harness.outcome import Curve
from harness.trial import Trial
from harness.workload import Context, Cost, Metric, Outcome
from harness.workloads._image_sections import Config

if TYPE_CHECKING:
    from harness.models.vision_transformer_size import VisionTransformerSize
    from harness.workloads._image_task import ImageTask

METHODS = {"optimizer": "optimizer", "parametrization": "parametrization", "norm": "norm"}
"""Config section -> kind of method."""

METRICS = {
    "test_loss": Metric(
        label="test loss", unit="nats per picture", cap="trivial_loss", shown=True, compared=True
    ),
    "test_accuracy": Metric(label="test accuracy", better="higher", shown=True),
    "validation_loss": Metric(label="validation loss", unit="nats per picture", cap="trivial_loss", compared=True),
    "validation_accuracy": Metric(label="validation accuracy", better="higher"),
    "best_validation_loss": Metric(
        label="validation loss, best point", unit="nats per picture", cap="trivial_loss"
    ),
    "best_validation_step": Metric(label="step of the best validation loss", unit="steps"),
    "train_loss": Metric(label="training loss", unit="nats per picture", cap="trivial_loss"),
    "train_loss_final": Metric(
        label="training loss, last tenth", unit="nats per picture", cap="trivial_loss"
    ),
    "train_loss_evaluated": Metric(
        label="loss on training pictures in evaluation mode", unit="nats per picture", cap="trivial_loss"
    ),
    "train_accuracy": Metric(label="accuracy on training pictures in evaluation mode", better="higher"),
    "trivial_loss": Metric(label="trivial loss", unit="nats per picture"),
    "flops": Metric(label="training FLOPs", compared=True),
    "flops_model": Metric(label="model FLOPs"),
    "flops_optimizer": Metric(label="optimizer FLOPs"),
    "parameters": Metric(label="parameters (no embedding)"),
    "parameters_total": Metric(label="parameters, embedding included"),
    "tokens": Metric(label="training pictures"),
    "steps": Metric(label="steps"),
    "model_width": Metric(label="width"),
    "tokens_per_step": Metric(label="patches a step"),
    "tokens_per_second": Metric(label="pictures per second"),
    "seconds_training": Metric(label="training time", unit="s"),
}
"""Metric -> what readers, estimators and the gate must know of it; curves go by the same names."""

CLASSES = 10
"""Classes of pictures that were not looked at; for cost estimates alone."""


def data_spec(config: Config) -> Mapping[str, Any]:
    """The pictures, for ``harness.data``."""
    return {**config.data, "format": config.pictures.format}


def cost(config: Config, size: VisionTransformerSize | None = None) -> Cost:
    """FLOPs of model and optimizer, by formula. Raises HarnessError if patches do not fill the pictures."""
    if size is None:
        size = config.model.size(config.pictures.side, config.pictures.channels, CLASSES)
    seen = config.steps * config.training.batch_size
    optimizer = build("optimizer", config.optimizer, "optimizer")
    return Cost(
        flops=size.training_flops(seen) + optimizer.flops_per_step(size.shapes()) * config.steps,
        parameters=size.matrix_parameters,
        tokens=seen,
    )


def run(trial: Trial, config: Config, context: Context) -> Outcome:
    """Train and evaluate. Metrics: METRICS; a run that diverged has no losses and accuracies."""
    import torch

    from harness.training import train

    start = time.perf_counter()
    task = _task(trial, config, context)
    outcome = train(
        task, config.training, context, identity=trial.identity, metrics=_planned(task),
        setup_seconds=time.perf_counter() - start,
    )  # fmt: skip
    outcome.metrics.update(_at_the_end(task, outcome))
    if task.pictures.left_out:
        outcome.notes.append(task.pictures.left_out)
    if context.weights_file is not None:
        torch.save(task.weights(), context.weights_file)
    return outcome


def evaluate(trial: Trial, config: Config, context: Context) -> Outcome:
    """Losses of the weights that a run left, and what follows from them, without what trained them."""
    import torch

    assert context.weights_file is not None
    weights = torch.load(context.weights_file, map_location="cpu", weights_only=True)
    task = _task(trial, config, context, weights)
    validation, (test, tables) = task.evaluate("validation"), task.test()
    accuracy = {f"{split}_accuracy": task.accuracy[split] for split in ("validation", "test")}
    return Outcome(
        metrics={"validation_loss": validation, "test_loss": test, **accuracy}, tables=dict(tables)
    )


def _task(
    trial: Trial, config: Config, context: Context, weights: Mapping[str, Any] | None = None
) -> ImageTask:
    from harness.data import images
    from harness.workloads._image_task import ImageTask

    pictures = images.load(data_spec(config), context.data_folder, trial.data or None)
    return ImageTask(config, pictures, trial.seed, weights)


def _planned(task: ImageTask) -> dict[str, float]:
    """Metrics that follow from config and size of the pictures."""
    total = cost(task.config, task.size)
    flops_model = task.size.training_flops(total.tokens)
    return {
        "flops": total.flops,
        "flops_model": flops_model,
        "flops_optimizer": total.flops - flops_model,
        "parameters": float(total.parameters),
        "parameters_total": float(task.parameters_total),
        "tokens": float(total.tokens),
        "model_width": float(task.config.model.width),
        # What a step's matrices see, as bounds on the optimizer's share of FLOPs ask.
        "tokens_per_step": float(task.config.training.batch_size * task.size.num_patches),
    }


def _at_the_end(task: ImageTask, outcome: Outcome) -> dict[str, float | None]:
    """Accuracies, the best validation loss, and the loss on training pictures as held-out ones are measured."""
    names = ("test_accuracy", "validation_accuracy", "train_loss_evaluated", "train_accuracy", "tokens_per_second")
    best, step = best_point(outcome.curves["validation_loss"])
    found: dict[str, float | None] = {
        "best_validation_loss": best, "best_validation_step": step, **dict.fromkeys(names)
    }  # fmt: skip
    if outcome.diverged_step is not None:
        return found
    train_loss = task.evaluate("train")
    seconds = outcome.metrics["seconds_training"]
    return {
        **found,
        "train_loss_evaluated": train_loss if math.isfinite(train_loss) else None,
        **{f"{split}_accuracy": task.accuracy[split] for split in ("train", "validation", "test")},
        "tokens_per_second": (outcome.metrics["tokens"] or 0.0) / seconds if seconds else None,
    }


def best_point(curve: Curve) -> tuple[float | None, float | None]:
    """(least value, the first step that has it) of a curve; None where it has no finite value."""
    values = [(v, float(s)) for s, v in zip(curve.steps, curve.values, strict=True) if v is not None]
    return min(values) if values else (None, None)

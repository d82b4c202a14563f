"""Denoising: a UNet learns the expectation of an image behind noise, from crops of photographs.

Its weights, averaged over steps, are the artifact that codecs read (harness.methods.denoiser_files). What a fold
holds out it never sees: validation and test are tiles of the held-out photographs, at fixed noise levels.
"""

from __future__ import annotations

import math
import time

from harness.methods.construct import build
from harness.trial import Trial
from harness.workload import Context, Cost, Metric, Outcome
from harness.workloads._denoiser_sections import Config

METHODS = {"optimizer": "optimizer"}
"""Config section -> kind of method."""

METRICS = {
    "test_loss": Metric(
        label="test loss of v", unit="mean square", cap="trivial_loss", shown=True, compared=True
    ),
    "validation_loss": Metric(label="validation loss of v", unit="mean square", cap="trivial_loss", compared=True),
    "train_loss": Metric(label="training loss of v", unit="mean square", cap="trivial_loss"),
    "train_loss_final": Metric(
        label="training loss of v, last tenth", unit="mean square", cap="trivial_loss"
    ),
    "trivial_loss": Metric(label="loss of predicting no v", unit="mean square"),
    "flops": Metric(label="training FLOPs", compared=True),
    "parameters": Metric(label="parameters"),
    "images": Metric(label="training crops"),
    "steps": Metric(label="steps"),
    "seconds_training": Metric(label="training time", unit="s"),
}
"""Metric -> what readers, estimators and the gate must know of it; curves go by the same names."""

BACKWARD = 2
"""Cost of a backward pass over that of a forward pass."""


def data_spec(config: Config) -> None:
    """None: the photographs lie in wheels, and their digests in code that the fingerprint covers."""
    return None


def cost(config: Config) -> Cost:
    """FLOPs of network and optimizer, by formula."""
    crop, crops = config.photographs.crop, config.steps * config.training.batch_size
    shapes = config.model.shapes()
    optimizer = build("optimizer", config.optimizer, "optimizer")
    return Cost(
        flops=(1 + BACKWARD) * config.model.flops(crop, crop) * crops
        + optimizer.flops_per_step(shapes) * config.steps,
        parameters=sum(math.prod(shape) for _, shape in shapes),
        tokens=crops,
    )


def run(trial: Trial, config: Config, context: Context) -> Outcome:
    """Train, evaluate, and leave the averaged weights. Metrics: those of harness.training.train, flops, parameters,
    images. Table ``levels``: loss of v and error of the image at each noise level of the test."""
    from harness.methods import denoiser_files
    from harness.training import train
    from harness.workloads._denoiser_task import DenoiserTask

    start = time.perf_counter()
    task = DenoiserTask(config, trial.seed)
    total = cost(config)
    outcome = train(
        task, config.training, context, identity=trial.identity, setup_seconds=time.perf_counter() - start,
        metrics={
            "flops": total.flops, "parameters": float(total.parameters), "images": float(total.tokens),
        },
    )
    if outcome.diverged_step is None:
        about = {
            "trial": trial.identity, "fold": config.photographs.fold, "seed": trial.seed,
            "steps": config.steps, "test_loss": outcome.metrics["test_loss"],
        }
        denoiser_files.write(context.artifact_folder, task.model.average, about)
    return outcome


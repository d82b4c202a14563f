"""A workload without torch: its loss is a parabola in log2 of the learning rate, so tests know the optimum."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.workload import Cost, Metric, Outcome

METHODS: dict[str, str] = {"optimizer": "optimizer"}
METRICS = {
    "test_loss": Metric(label="test loss", unit="nats", shown=True, compared=True),
    "validation_loss": Metric(label="validation loss", unit="nats", compared=True),
    "flops": Metric(label="training FLOPs", compared=True),
}


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    width: int = 8


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    model: Model = Model()
    optimizer: dict[str, Any]
    compute: dict[str, Any] = {}
    best_log2_lr: float = -7.0
    diverges_above: float = 0.5


def data_spec(config: Config) -> None:
    return None


def cost(config: Config) -> Cost:
    return Cost(flops=1e6 * config.model.width, parameters=config.model.width)


def loss(config: Config, seed: int) -> float:
    """inf above the divergence limit."""
    lr = float(config.optimizer["lr"])
    if lr > config.diverges_above:
        return math.inf
    return 2.0 + 0.05 * (math.log2(lr) - config.best_log2_lr) ** 2 + 0.001 * (seed % 7)


def run(trial: Any, config: Config, context: Any) -> Outcome:
    value = loss(config, trial.seed)
    if math.isinf(value):
        return Outcome(diverged_step=3, reason="loss is not finite")
    return Outcome(metrics={"validation_loss": value, "test_loss": value + 0.01, "flops": cost(config).flops})

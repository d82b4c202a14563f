"""A workload that is no learning: it quantises a ramp, with a metric, a unit and a size axis of its own."""

from __future__ import annotations

import math
import random
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.workload import Cost, Metric, Outcome

METHODS: dict[str, str] = {}
METRICS = {
    "peak_ratio": Metric(label="peak signal-to-noise ratio", unit="dB", shown=True, compared=True, better="higher"),
    "bits_per_sample": Metric(label="rate", unit="bits a sample", shown=True, compared=True),
}


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    bits: int
    dither: bool = False
    compute: dict[str, Any] = {}


def data_spec(config: Config) -> None:
    return None


def cost(config: Config) -> Cost:
    return Cost(flops=1e3)


def run(trial: Any, config: Config, context: Any) -> Outcome:
    """Metrics of the samples 0, 1/256, ... rounded to so many bits; the dither is drawn from the seed."""
    draw, steps = random.Random(trial.seed), 2**config.bits - 1
    samples = [(i + draw.random()) / 256 for i in range(256)]
    shifts = [draw.random() - 0.5 if config.dither else 0.0 for _ in samples]
    squares = [(x - round(steps * x + d) / steps) ** 2 for x, d in zip(samples, shifts, strict=True)]
    peak_ratio = -10 * math.log10(sum(squares) / len(squares))
    return Outcome(metrics={"peak_ratio": peak_ratio, "bits_per_sample": float(config.bits)})

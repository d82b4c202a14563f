"""A workload that trains nothing: its artifact is a gain that follows from its config and seed."""

import json
import os
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.workload import Cost, Metric, Outcome

METHODS: dict[str, str] = {}
METRICS = {"gain": Metric(label="gain", compared=True)}
BIAS = 0.0


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    fold: str = "a"
    quality: float = 1.0
    fault: str = ""
    """raise, diverge, or empty: no artifact."""


def data_spec(config: Config) -> None:
    return None


def cost(config: Config) -> Cost:
    return Cost(flops=1e6)


def run(trial: Any, config: Config, context: Any) -> Outcome:
    if config.fault == "raise":
        raise ValueError("no photographs")
    if config.fault == "diverge":
        return Outcome(diverged_step=1, reason="loss is not finite")
    gain = float(os.environ.get("TOY_BIAS", BIAS)) + config.quality + trial.seed / 10
    if config.fault != "empty":
        (context.artifact_folder / "weights").mkdir()
        (context.artifact_folder / "weights" / "denoiser.json").write_text(json.dumps({"gain": gain}))
        (context.artifact_folder / "fold.txt").write_text(config.fold)
    return Outcome(metrics={"gain": gain, "flops": 1e6})

"""Coordinate check: sizes of activations, and of their change, over the first steps (2203.03466, App. D.1).

Under a parametrization that transfers, neither depends on width once a few steps are taken; logits may fall
as width^(-1/2) at initialisation, unless the readout starts at zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.methods.optimizer import ParameterGroup
from harness.outcome import Table, finite
from harness.probes import ProbedTask
from harness.probes._activations import activations
from harness.probes._settings import Settings, parse

COLUMNS = ["step", "layer", "site", "statistic", "value"]
STATISTICS = {
    "mean_abs": "mean |x|",
    "change": "std(x_t - x_0)",
    "rms_change": "root mean square of x_t - x_0",
}


class CoordinateSettings(Settings):
    """Settings of probe ``coordinate``."""

    steps: int = Field(default=10, ge=1, le=1000)
    """Optimizer steps watched, from the first."""
    size: int = Field(default=8, ge=1, le=4096)
    """Sequences or images in the fixed batch."""


class Coordinate:
    """Runs the fixed batch before the first step and after each of the first steps.

    Table: step (updates taken, 0 .. steps), layer (-1 outside of blocks), site (embedding, attention,
    feed_forward, logits), statistic (mean_abs, change, rms_change), value (None where not finite).
    """

    def __init__(self, settings: CoordinateSettings) -> None:
        self.settings = settings
        self.rows: list[list[Any]] = []
        self.first: dict[tuple[int, str], Tensor] = {}

    def start(
        self,
        model: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: torch.optim.Optimizer,
        task: ProbedTask,
    ) -> None:
        """Notes the activations at initialisation."""
        self.model, self.task = model, task
        self.inputs = task.probe_batch(self.settings.size)
        self.first = activations(model, task, self.inputs)
        self._note(0, self.first)

    def wants(self, step: int) -> bool:
        return step < self.settings.steps

    def before_step(self, step: int) -> None:
        """Nothing: activations are taken after the update."""

    def after_step(self, step: int) -> None:
        self._note(step + 1, activations(self.model, self.task, self.inputs))

    def _note(self, step: int, now: Mapping[tuple[int, str], Tensor]) -> None:
        for (layer, site), x in now.items():
            change = (x - self.first[layer, site]).to(torch.float64)
            values = {
                "mean_abs": x.to(torch.float64).abs().mean(),
                "change": change.std(correction=0),
                "rms_change": change.square().mean().sqrt(),
            }
            for statistic, value in values.items():
                self.rows.append([step, layer, site, statistic, finite(value.item())])

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": [list(row) for row in self.rows],
            "first": [[layer, site, x] for (layer, site), x in self.first.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows = [list(row) for row in state["rows"]]
        device = self.task.device
        self.first = {(layer, site): x.to(device) for layer, site, x in state["first"]}

    def finish(self) -> Table:
        about = {
            "probe": "coordinate",
            "statistics": STATISTICS,
            "step": "updates taken",
            "batch": self.settings.size,
            "dtype": "float32 activations of the trial's forward pass, statistics in float64",
        }
        return Table(columns=COLUMNS, rows=self.rows, about=about)


def build(settings: Mapping[str, Any]) -> Coordinate:
    """The probe; HarnessError for settings that are wrong."""
    return Coordinate(parse(CoordinateSettings, settings, "coordinate"))

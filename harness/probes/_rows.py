"""What probes share that look at one fixed batch after updates and keep rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from harness.methods.optimizer import ParameterGroup
from harness.probes import ProbedTask


class RowsOfABatch:
    """The rows so far, also over a resumed run; a probe says when it looks, and what it adds."""

    def __init__(self, size: int) -> None:
        """``size``: sequences or images in the batch."""
        self.size = size
        self.rows: list[list[Any]] = []

    def start(
        self,
        model: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: torch.optim.Optimizer,
        task: ProbedTask,
    ) -> None:
        """Takes the fixed batch."""
        self.model, self.task = model, task
        self.inputs = task.probe_batch(self.size)

    def before_step(self, step: int) -> None:
        """Nothing: it looks after the update."""

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [list(row) for row in self.rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows = [list(row) for row in state["rows"]]

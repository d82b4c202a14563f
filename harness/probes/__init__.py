"""Probes: what is measured while a trial runs and cannot change it. One module each, found by file name.

``harness/probes/<name>.py`` offers ``build(settings) -> Probe``, raising a HarnessError for bad settings.
The training loop calls, in this order::

    probe.start(model, groups, optimizer, task)          once, before step 0, weights at their initial values
    for step in range(task.steps):
        (gradients of this step are in .grad, clipped)
        if probe.wants(step): probe.before_step(step)    weights before the update
        optimizer.step()
        if probe.wants(step): probe.after_step(step)     weights after the update, gradients still there
    probe.finish()                                       -> harness.outcome.Table

``step`` counts from 0, so after_step(step) sees ``step + 1`` updates. A probe that wants updates copies the
weights in before_step and subtracts them in after_step. It writes to no weight, gradient, buffer or state and
leaves no hook on a module when a call returns (a compiled step would trace it). The loop saves and restores
torch's generators around each call, and counts the time on the clock ``probes``. Modules are in evaluation mode
while a probe looks. Weights and updates are those that are trained; ``task.forward`` uses those that are
evaluated, where an optimizer tells them apart (schedule-free).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.errors import unknown
from harness.outcome import Table

if TYPE_CHECKING:
    import torch
    from torch import nn

    from harness.methods.optimizer import ParameterGroup


class ProbedTask(Protocol):
    """What a probe may ask of the work that it watches."""

    steps: int
    """Optimizer steps of the whole run."""
    device: torch.device

    def probe_batch(self, size: int) -> Any:
        """A fixed batch of held-out inputs (``size`` sequences or images), the same for every trial."""
        ...

    def forward(self, inputs: Any) -> torch.Tensor:
        """The uncompiled model on such inputs, without gradients, in the trial's dtype and in evaluation mode;
        hooks are seen."""
        ...


@runtime_checkable
class Probe(Protocol):
    """Watches one trial."""

    def start(
        self,
        model: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: torch.optim.Optimizer,
        task: ProbedTask,
    ) -> None: ...

    def wants(self, step: int) -> bool:
        """Whether before_step and after_step are called at this step; depends on the step alone."""
        ...

    def before_step(self, step: int) -> None: ...

    def after_step(self, step: int) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: tensors, numbers, strings, lists and dicts of those."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Called after start when a run resumes."""
        ...

    def finish(self) -> Table: ...


def names() -> list[str]:
    """Names of the probes that ship."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def build(name: str, settings: Mapping[str, Any], where: str = "") -> Probe:
    """The probe of this name; raises UnknownNameError, or what its module raises for bad settings."""
    if name not in names():
        raise unknown("probe", name, names(), where)
    probe: Probe = importlib.import_module(f"{__name__}.{name}").build(settings)
    return probe


def named_matrices(
    model: nn.Module, groups: Sequence[ParameterGroup], roles: Sequence[str] = ("hidden",)
) -> Iterator[tuple[str, torch.nn.Parameter, int | None]]:
    """(name, parameter, index): every matrix of these roles; a stack of matrices comes one by one.

    Read the matrix as ``parameter if index is None else parameter[index]``. A model may name the members of
    its stacks in ``model.stacks``: ``{"blocks.0.attention.qkv": ("query", "key", "value")}``.
    """
    stacks: Mapping[str, Sequence[str]] = getattr(model, "stacks", {})
    for group in groups:
        if group.role not in roles:
            continue
        for name, parameter in zip(group.names, group.parameters, strict=True):
            if parameter.ndim == 2:
                yield name, parameter, None
            elif parameter.ndim == 3:
                members = stacks.get(name) or [str(i) for i in range(parameter.shape[0])]
                for index, member in enumerate(members):
                    yield f"{name}.{member}", parameter, index

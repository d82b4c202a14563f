"""What every task on the training loop shares: the model from its sections, groups, precision, evaluation.

A task of its own says its network, its batches and its losses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.methods.construct import build
from harness.methods.modes import evaluating, set_training
from harness.methods.norm import Norm
from harness.methods.optimizer import Optimizer, ParameterGroup
from harness.methods.parametrization import Parametrization
from harness.methods.roles import Family, Role
from harness.models.parameters import initialise, parameter_groups, places, scalings
from harness.outcome import Table
from harness.streams import Streams
from harness.workloads._sections import Compute, Network, Training

TEST_BLOCKS = "test_loss_blocks"
"""Table of the test loss by runs of neighbouring items: the finite sample's error is read from their spread."""
NUM_BLOCKS = 16
"""Rows of that table, fewer only where there are fewer items."""
MOST_SHAPES = 256
"""Shapes of model that one process compiles before it says that there are too many."""


class LearningConfig(Protocol):
    """The sections that a config of any learning task has."""

    @property
    def model(self) -> Network: ...
    @property
    def training(self) -> Training: ...
    @property
    def compute(self) -> Compute: ...
    @property
    def optimizer(self) -> Mapping[str, Any]: ...
    @property
    def parametrization(self) -> Mapping[str, Any]: ...
    @property
    def norm(self) -> Mapping[str, Any]: ...
    @property
    def steps(self) -> int:
        """Optimizer steps."""
        ...


def compiled(loss: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """The loss compiled for its shapes; trials of equal shape in one process share the compiled code.

    torch's default would run a ninth shape uncompiled, with other numerics and only a warning.
    """
    import torch._dynamo.config as settings

    settings.recompile_limit = settings.accumulated_recompile_limit = MOST_SHAPES
    settings.fail_on_recompile_limit_hit = True
    return torch.compile(loss, dynamic=False)


def usable_device(compute: Compute) -> torch.device:
    """The device asked for; HarnessError if it is not here. Sets the number of threads."""
    device = torch.device(compute.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise HarnessError("compute.device 'cuda': no CUDA device here; valid here: cpu")
    if torch.get_num_threads() != compute.threads:
        torch.set_num_threads(compute.threads)
    return device


class Untrained:
    """Stands for the optimizer of a model that is only evaluated, of which the network knows but the families."""

    lr = 0.0

    def __init__(self, families: Mapping[Role, Family]) -> None:
        self.families = families

    def family(self, role: Role) -> Family:
        """The family that trained this role."""
        return self.families[role]

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """An optimizer that changes nothing."""
        return torch.optim.SGD([p for group in groups for p in group.parameters], lr=self.lr)

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """None: it takes no step."""
        return 0.0


class LearningTask(ABC):
    """See harness.training.Task. A sub-class sets what its ``network`` needs before it calls ``__init__``.

    Held-out items (windows of text, images) are known by their places in a split. ``weights``, as ``weights()``
    gives them, make a task that can only be evaluated, without the optimizer that the config names.
    """

    def __init__(
        self, config: LearningConfig, seed: int, trivial_loss: float, weights: Mapping[str, Any] | None = None
    ) -> None:
        self.learning = config
        self.steps = config.steps
        self.device = usable_device(config.compute)
        self.streams = Streams(seed, f"width={config.model.width},depth={config.model.depth}")
        self.torch_seed = self.streams.key("torch") % 2**63
        self.trivial_loss = trivial_loss
        if weights is None:
            self._build(build("optimizer", config.optimizer, "optimizer"))
        else:
            self._build(Untrained(weights["families"]))
            self.model.load_state_dict(weights["model"])
        self._loss: Callable[[Any], Tensor] = self._eager_loss
        if config.compute.compile:
            self._loss = compiled(self._eager_loss)

    def _build(self, optimizer: Optimizer) -> None:
        config, section = self.learning, self.learning.model
        parametrization: Parametrization = build(
            "parametrization", config.parametrization, "parametrization"
        )
        norm: Norm = build("norm", config.norm, "norm")
        base = section.base
        with torch.device("meta"):
            base_places = places(self.network(base, norm, parametrization))
        self.model = self.network(section, norm, parametrization)
        scaling = scalings(self.model, base_places, (section.depth, base.depth), parametrization, optimizer)
        initialise(self.model, scaling, self.streams)
        self.model.to(self.device)
        self.groups = parameter_groups(self.model, scaling)
        self.families = {group.role: optimizer.family(group.role) for group in self.groups}
        self.optimizer = optimizer.build(self.groups)
        set_training(self.optimizer)
        self.parameters_total = sum(p.numel() for p in self.model.parameters())

    # --- what a task says for itself ---------------------------------------------------------------------

    @abstractmethod
    def network(self, section: Any, norm: Norm, parametrization: Parametrization) -> nn.Module:
        """The network of a model section: the config's own, and once the base model's."""

    @abstractmethod
    def batch(self, step: int, part: int) -> Any:
        """Part ``part`` of the step's batch: a function of seed, size and step alone."""

    @abstractmethod
    def held_out(self, split: str) -> Tensor:
        """Places of the fixed items of ``validation`` or ``test``, in the order of the split, on the device."""

    @abstractmethod
    def items(self, split: str, held: Tensor) -> Any:
        """The items at these places, as ``batch`` gives them."""

    @property
    @abstractmethod
    def items_at_once(self) -> int:
        """Items of one forward pass in evaluation."""

    @property
    @abstractmethod
    def item_tokens(self) -> int:
        """Tokens (images) that an item's loss is the mean of."""

    @abstractmethod
    def _eager_loss(self, batch: Any) -> Tensor:
        """Mean loss of a batch, uncompiled, in the trial's dtype."""

    @abstractmethod
    def _losses(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The batch's mean loss as ``_eager_loss`` gives it, to the bit, and each item's, from one forward pass."""

    # --- what they share ---------------------------------------------------------------------------------

    def autocast(self) -> AbstractContextManager[Any]:
        """The trial's number format."""
        enabled = self.learning.compute.dtype == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def loss(self, batch: Any) -> Tensor:
        """Mean loss of a batch, compiled if the trial asks for it."""
        return self._loss(batch)

    @torch.no_grad()
    def _evaluate(self, split: str) -> tuple[float, Tensor]:
        """Mean loss over the split's fixed items, and each item's, by the uncompiled model in evaluation mode."""
        held, each = self.held_out(split), []
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        with evaluating(self.model, self.optimizer):
            for start in range(0, len(held), self.items_at_once):
                part = held[start : start + self.items_at_once]
                mean, of_items = self._losses(self.items(split, part))
                total += mean.double() * len(part)
                each.append(of_items)
        return total.item() / len(held), torch.cat(each)

    def evaluate(self, split: str) -> float:
        """Mean loss over the fixed items of ``validation`` or ``test``."""
        return self._evaluate(split)[0]

    def test(self) -> tuple[float, Mapping[str, Table]]:
        """``evaluate("test")``, and the same losses block by block."""
        loss, each = self._evaluate("test")
        return loss, {TEST_BLOCKS: loss_blocks(each, self.item_tokens)}

    @abstractmethod
    def probe_batch(self, size: int) -> Any:
        """``size`` held-out inputs of ``forward``, the same for every trial."""

    @torch.no_grad()
    def weights(self) -> dict[str, Any]:
        """What an evaluation rests on: the weights that are evaluated, and the family that trained each role."""
        with evaluating(self.model, self.optimizer):
            model = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        return {"model": model, "families": self.families}

    def after_step(self, step: int) -> None:  # noqa: B027
        """Called after each update. Nothing here: a dense network keeps no state beside its weights."""

    @torch.no_grad()
    def forward(self, inputs: Any) -> Tensor:
        """Outputs of the uncompiled model, in evaluation mode and with the weights that are evaluated."""
        with evaluating(self.model, self.optimizer), self.autocast():
            return self.model(inputs)


def loss_blocks(losses: Tensor, tokens: int) -> Table:
    """Mean losses of NUM_BLOCKS runs of neighbouring items of this many tokens each; their sizes differ by one item
    at most, and their token-weighted mean is the mean of all.
    """
    blocks = np.array_split(losses.double().cpu().numpy(), min(NUM_BLOCKS, len(losses)))
    return Table(
        columns=["block", "loss", "tokens"],
        rows=[[i, float(block.mean()), tokens * len(block)] for i, block in enumerate(blocks)],
        about={"loss": "mean over the block's tokens", "block": "neighbouring items of the test split"},
    )

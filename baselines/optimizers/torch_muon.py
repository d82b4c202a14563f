"""torch.optim.Muon for hidden matrices, torch.optim.AdamW for the rest: an independent reference for Muon.

torch's Muon takes matrices alone, so a stack of shape (matrices, out, in) is handed over as views of each
matrix, which share its storage. It works in bfloat16, matrix by matrix, with one coefficient triple.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from baselines.optimizers._groups import (
    ADAM_FLOPS_PER_PARAMETER,
    MUON_FLOPS_PER_PARAMETER,
    NonNegative,
    NumSteps,
    Positive,
    Share,
    WithAdamPart,
    adam_part,
    muon_group,
    stack_shape,
)
from baselines.optimizers._newton_schulz import COEFFICIENTS, newton_schulz_flops
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Role
from harness.registry import register

ADJUST = {"keller": "original", "moonlight": "match_rms_adamw"}
"""Our name of a scale rule -> torch's (the two that every torch with Muon knows)."""


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class TorchMuon(WithAdamPart):
    """torch.optim.Muon on hidden matrices, torch.optim.AdamW on the rest. Needs: lr."""

    lr: Positive
    """Peak learning rate of hidden matrices."""
    weight_decay: NonNegative = 0.1
    """Decoupled; a step multiplies weights by 1 - lr * weight_decay (lr before the scale)."""
    momentum: Share = 0.95
    """Decay of the running mean of gradients, a step."""
    nesterov: bool = True
    """Whether the update is the mean looked at one gradient ahead."""
    scale: Literal["keller", "moonlight"] = "moonlight"
    """Factor on lr by shape: keller sqrt(max(1, out/in)), torch's "original"; moonlight
    0.2 sqrt(max(out, in)), torch's "match_rms_adamw"."""
    ns_steps: NumSteps = 5
    """Newton-Schulz steps with Keller's coefficients."""
    @staticmethod
    def available() -> str | None:
        """Why this torch cannot run it, or None."""
        if hasattr(torch.optim, "Muon"):
            return None
        return f"torch {torch.__version__} has no torch.optim.Muon; it came with torch 2.9"

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """One optimizer around torch's two, one torch group for each of ``groups``, with their multipliers.

        Raises HarnessError for a hidden parameter that is neither a matrix nor a stack of matrices.
        """
        return TorchPair([self._torch_group(group) for group in groups])

    def _torch_group(self, group: ParameterGroup) -> dict[str, Any]:
        if self.family(group.role) == "adam":
            return adam_part(self, group)
        return muon_group(self, group, ns_steps=self.ns_steps, adjust_lr_fn=ADJUST[self.scale])

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """As Muon's: Newton-Schulz's products and 12 element-wise FLOPs a parameter; 14 for Adam's."""
        total = 0.0
        schedule = COEFFICIENTS["keller"].schedule(self.ns_steps)
        for role, shape in shapes:
            if self.family(role) == "adam":
                total += ADAM_FLOPS_PER_PARAMETER * math.prod(shape)
                continue
            matrices, rows, columns = stack_shape(shape)
            total += matrices * newton_schulz_flops(rows, columns, schedule)
            total += MUON_FLOPS_PER_PARAMETER * math.prod(shape)
        return total


class TorchPair(torch.optim.Optimizer):
    """torch.optim.Muon and torch.optim.AdamW behind one optimizer, whose groups and state are the truth.

    The two inner optimizers hold views of the parameters and of this optimizer's state.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {})
        self._inner: list[tuple[dict[str, Any], torch.optim.Optimizer]] = []
        self._held: list[Tensor] = []

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both; ``closure`` re-evaluates the loss, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if not self._current():
            self._attach()
        for group, inner in self._inner:
            for key in ("lr", "weight_decay"):
                inner.param_groups[0][key] = group[key]
            if group["family"] == "muon":
                gradients = [m for p in group["params"] for m in _matrices(p.grad, p)]
                for view, gradient in zip(inner.param_groups[0]["params"], gradients, strict=True):
                    view.grad = gradient
            inner.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what ``state_dict`` gave; continuing is then bit-identical."""
        super().load_state_dict(state_dict)
        self._inner = []

    def _current(self) -> bool:
        """Whether the inner optimizers' views still lie on the parameters' storage (``to`` moves it)."""
        views = iter(self._held)
        held = [p.data_ptr() for group in self.param_groups for p in group["params"]]
        return len(self._inner) == len(self.param_groups) and held == [v.data_ptr() for v in views]

    def _attach(self) -> None:
        self._inner = []
        self._held = [p.detach() for group in self.param_groups for p in group["params"]]
        for group in self.param_groups:
            inner: torch.optim.Optimizer
            if group["family"] == "adam":
                fields = {k: group[k] for k in ("lr", "weight_decay", "betas", "eps", "fused")}
                inner = torch.optim.AdamW(group["params"], **fields)
                for p in group["params"]:
                    inner.state[p] = self.state[p]
            else:
                views = [m for p in group["params"] for m in _matrices(p.detach(), p)]
                keys = ("lr", "weight_decay", "momentum", "nesterov", "ns_steps", "adjust_lr_fn")
                inner = torch.optim.Muon(views, **{k: group[k] for k in keys})
                buffers = []
                for p in group["params"]:
                    if not self.state[p]:
                        self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                    buffers += _matrices(self.state[p]["momentum_buffer"], p)
                for view, buffer in zip(views, buffers, strict=True):
                    inner.state[view]["momentum_buffer"] = buffer
            self._inner.append((group, inner))


def _matrices(tensor: Tensor | None, parameter: Tensor) -> list[Any]:
    """Views of the matrices of a stack; as many Nones for no gradient."""
    if tensor is None:
        return [None] * (1 if parameter.ndim == 2 else len(parameter))
    return [tensor] if tensor.ndim == 2 else list(tensor.unbind(0))

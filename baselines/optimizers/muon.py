"""Muon: momentum, orthogonalised by Newton-Schulz, for hidden matrices; AdamW for everything else.

    m <- momentum m + (1 - momentum) g
    u <- momentum m + (1 - momentum) g   (Nesterov; u = m without)
    W <- (1 - lr weight_decay) W - lr scale(fan_out, fan_in) orthogonalize(u)

Weight decay uses the LR without the scale. Sources: K. Jordan, Muon (2024); Moonlight, 2502.16982; the
scale rules as named in kexue.fm 11416. "Muon" alone names no method: state scale, coefficients and steps.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

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
    adam_step,
    muon_group,
    stack_shape,
)
from baselines.optimizers._newton_schulz import (
    COEFFICIENTS,
    Precision,
    Scratch,
    newton_schulz_flops,
    orthogonalize_,
)
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Role
from harness.registry import register

Scale = Literal["naive", "keller", "spectral", "moonlight"]
Coefficients = Literal[
    "keller", "polar_express", "su", "you", "leloykun", "cans", "keller_then_exact", "exact"
]

SCALES: dict[str, Callable[[int, int], float]] = {
    "naive": lambda fan_out, fan_in: 1.0,
    "keller": lambda fan_out, fan_in: math.sqrt(max(1.0, fan_out / fan_in)),
    "spectral": lambda fan_out, fan_in: math.sqrt(fan_out / fan_in),
    "moonlight": lambda fan_out, fan_in: 0.2 * math.sqrt(max(fan_out, fan_in)),
}
"""Rule -> factor on lr. torch.optim.Muon calls keller "original", moonlight "match_rms_adamw", spectral (from
2.14) "spectral_unclamped"."""

STACK_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}
"""Device type -> most elements orthogonalised as one stack of equal matrices (at least one matrix). On a CPU
small matrices share the cost of a call, and a stack must not outgrow the caches: measured best from d 64
(everything in one) to d 512 (single matrices). On a GPU launches dominate, and memory is the limit."""

TURN_ELEMENTS = {"cpu": 2**15}
"""Device type -> largest tall matrix that is transposed to share a stack with wide ones. Transposing costs
more than it saves beyond."""


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class Muon(WithAdamPart):
    """Muon on hidden matrices, AdamW on embedding, readout and vectors. Needs: lr."""

    lr: Positive
    """Peak learning rate of hidden matrices; with scale moonlight an update has RMS 0.2 lr, like AdamW's."""
    weight_decay: NonNegative = 0.1
    """Decoupled; a step multiplies weights by 1 - lr * weight_decay (lr before the scale)."""
    momentum: Share = 0.95
    """Decay of the running mean of gradients, a step."""
    nesterov: bool = True
    """Whether the update is the mean looked at one gradient ahead."""
    scale: Scale = "moonlight"
    """Factor on lr by shape: naive 1; keller sqrt(max(1, out/in)); spectral sqrt(out/in); moonlight
    0.2 sqrt(max(out, in))."""
    coefficients: Coefficients = "keller"
    """Newton-Schulz coefficient set."""
    ns_steps: NumSteps | None = None
    """Newton-Schulz steps; null: as many as the set has (keller 5). Only keller and exact take others."""
    precision: Precision = "bfloat16"
    """Number format inside Newton-Schulz. float32 is slower where bfloat16 products are native."""
    split_fused: bool = True
    """Whether a fused projection of shape (matrices, out, in) is that many matrices; false (an ablation):
    orthogonalised as one of shape (matrices * out, in)."""
    def __post_init__(self) -> None:
        self._schedule()

    def _schedule(self) -> tuple[tuple[float, float, float], ...]:
        try:
            return COEFFICIENTS[self.coefficients].schedule(self.ns_steps)
        except ValueError as error:
            message = f"Muon: coefficients {self.coefficients!r}: {error}; leave ns_steps out"
            raise ValueError(message) from None

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """One optimizer over both parts, one torch group for each of ``groups``, with their multipliers.

        Raises HarnessError for a hidden parameter that is neither a matrix nor a stack of matrices.
        """
        return MuonWithAdam([self._torch_group(group) for group in groups])

    def _torch_group(self, group: ParameterGroup) -> dict[str, Any]:
        if self.family(group.role) == "adam":
            return adam_part(self, group)
        return muon_group(
            self,
            group,
            scale=self.scale,
            coefficients=self.coefficients,
            ns_steps=self.ns_steps,
            precision=self.precision,
            split_fused=self.split_fused,
        )

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """Newton-Schulz's products and 12 element-wise FLOPs a parameter for hidden matrices, 14 for Adam's.

        At most ns_steps * m / tokens of the matrices' own training FLOPs (m the short side): see
        ``_newton_schulz.overhead``.
        """
        total = 0.0
        for role, shape in shapes:
            if self.family(role) == "adam":
                total += ADAM_FLOPS_PER_PARAMETER * math.prod(shape)
                continue
            matrices, rows, columns = stack_shape(shape, self.split_fused)
            total += matrices * newton_schulz_flops(rows, columns, self._schedule(), self.precision)
            total += MUON_FLOPS_PER_PARAMETER * math.prod(shape)
        return total


class _Member(NamedTuple):
    """A parameter in a stack, and what its step multiplies."""

    parameter: Tensor
    turned: bool
    decay: float
    factor: float


class _Kind(NamedTuple):
    """What the members of a stack have in common."""

    rows: int
    columns: int
    device: torch.device
    dtype: torch.dtype
    momentum: float
    nesterov: bool
    coefficients: str
    ns_steps: int | None
    precision: Precision


class MuonWithAdam(torch.optim.Optimizer):
    """Muon for groups with family "muon", AdamW for those with family "adam".

    Gradients are left as they are. A parameter without gradient is left alone, its momentum too.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both parts; ``closure`` re-evaluates the loss, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # Equal matrices of all groups share stacks; LR and decay are applied run by run.
        kinds: dict[_Kind, list[_Member]] = defaultdict(list)
        for group in self.param_groups:
            if group["family"] == "adam":
                adam_step(self.state, group)
                continue
            lr, decay = group["lr"], 1 - group["lr"] * group["weight_decay"]
            for p in group["params"]:
                if p.grad is None or not p.numel():
                    continue
                _, rows, columns = stack_shape(p.shape, group["split_fused"])
                factor = -lr * SCALES[group["scale"]](rows, columns)
                turned = columns < rows and rows * columns <= TURN_ELEMENTS.get(p.device.type, 0)
                shape = (columns, rows) if turned else (rows, columns)
                shared = (group[k] for k in ("momentum", "nesterov", "coefficients", "ns_steps", "precision"))
                kind = _Kind(*shape, p.device, p.dtype, *shared)
                kinds[kind].append(_Member(p, turned, decay, factor))
        for kind, members in kinds.items():
            for stack in _stacks(members, STACK_ELEMENTS.get(kind.device.type, STACK_ELEMENTS["cpu"])):
                self._update(stack, kind)
        return loss

    def _update(self, members: list[_Member], kind: _Kind) -> None:
        parameters = [m.parameter for m in members]
        gradients = [p.grad for p in parameters if p.grad is not None]
        buffers = []
        for p in parameters:
            state = self.state[p]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            buffers.append(state["momentum_buffer"])
        torch._foreach_lerp_(buffers, gradients, 1 - kind.momentum)

        if "_scratch" not in self.__dict__:
            self._scratch = Scratch()
        numbers = [p.numel() // (kind.rows * kind.columns) for p in parameters]
        dtype = torch.promote_types(kind.dtype, torch.float32)
        stack = self._scratch.take("stack", (sum(numbers), kind.rows, kind.columns), dtype, kind.device)
        updates = []
        for member, piece in zip(members, stack.split(numbers), strict=True):
            updates.append((piece.mT if member.turned else piece).view(member.parameter.shape))
        for update, gradient, buffer in zip(updates, gradients, buffers, strict=True):
            if kind.nesterov:
                torch.lerp(gradient, buffer, kind.momentum, out=update)
            else:
                update.copy_(buffer)
        chosen = COEFFICIENTS[kind.coefficients]
        orthogonalize_(stack, chosen, self._scratch, steps=kind.ns_steps, precision=kind.precision)

        start = 0
        for (decay, factor), run in groupby(members, key=lambda m: (m.decay, m.factor)):
            end = start + len(list(run))
            torch._foreach_mul_(parameters[start:end], decay)
            torch._foreach_add_(parameters[start:end], updates[start:end], alpha=factor)
            start = end


def _stacks(members: Sequence[_Member], limit: int) -> Iterable[list[_Member]]:
    """Consecutive members with at most ``limit`` elements together, at least one each."""
    stack: list[_Member] = []
    elements = 0
    for member in members:
        size = member.parameter.numel()
        if stack and elements + size > limit:
            yield stack
            stack, elements = [], 0
        stack.append(member)
        elements += size
    if stack:
        yield stack

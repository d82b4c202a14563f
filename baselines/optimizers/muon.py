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
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from baselines.optimizers._groups import (
    ADAM_FLOPS_PER_PARAMETER,
    MUON_FLOPS_PER_PARAMETER,
    NonNegative,
    NumSteps,
    Positive,
    SearchSpace,
    Share,
    adam_part,
    adam_step,
    check_fields,
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
from harness.errors import unknown
from harness.methods import Family, ParameterGroup, Role
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


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class Muon:
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
    adam_lr: Positive | None = None
    """Peak learning rate of the Adam part; null: lr (sensible with scale moonlight alone)."""
    adam_weight_decay: NonNegative | None = None
    """Weight decay of the Adam part; null: weight_decay."""
    adam_beta1: Share = 0.9
    """Decay of the Adam part's first moment, a step."""
    adam_beta2: Share = 0.95
    """Decay of the Adam part's second moment, a step."""
    adam_eps: Positive = 1e-8
    """Added to the root of the Adam part's second moment (units of the gradient)."""
    decay_vectors: bool = False
    """Whether gains, biases and scalars decay too."""

    search_space: ClassVar[SearchSpace] = {"lr": (2**-9, 2**-4, "log2")}

    def __post_init__(self) -> None:
        check_fields(self)
        if self.scale not in SCALES:
            raise unknown("scale", self.scale, SCALES, "Muon")
        if self.coefficients not in COEFFICIENTS:
            raise unknown("coefficients", self.coefficients, COEFFICIENTS, "Muon")
        self._schedule()

    def _schedule(self) -> tuple[tuple[float, float, float], ...]:
        try:
            return COEFFICIENTS[self.coefficients].schedule(self.ns_steps)
        except ValueError as error:
            message = f"Muon: coefficients {self.coefficients!r}: {error}; leave ns_steps out"
            raise ValueError(message) from None

    def family(self, role: Role) -> Family:
        """Muon trains hidden matrices, Adam the rest."""
        return "muon" if role == "hidden" else "adam"

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


_SHARED = ("momentum", "nesterov", "coefficients", "ns_steps", "precision")
"""What matrices of one stack have in common beside shape, device and dtype, in the order of ``_update``."""


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
        # Equal matrices of all groups share stacks; what else differs is applied run by run.
        buckets: dict[tuple[Any, ...], list[tuple[Tensor, dict[str, Any]]]] = defaultdict(list)
        for group in self.param_groups:
            if group["family"] == "adam":
                adam_step(self.state, group)
                continue
            shared = tuple(group[key] for key in _SHARED)
            for p in group["params"]:
                if p.grad is not None:
                    shape = stack_shape(p.shape, group["split_fused"])
                    buckets[shape[1:], p.device, p.dtype, shared].append((p, group))
        for ((rows, columns), device, _, shared), members in buckets.items():
            limit = STACK_ELEMENTS.get(device.type, STACK_ELEMENTS["cpu"])
            for stack in _stacks(members, limit):
                self._update(stack, rows, columns, *shared)
        return loss

    def _update(
        self,
        members: list[tuple[Tensor, dict[str, Any]]],
        rows: int,
        columns: int,
        momentum: float,
        nesterov: bool,
        coefficients: str,
        ns_steps: int | None,
        precision: Precision,
    ) -> None:
        gradients = [p.grad for p, _ in members if p.grad is not None]
        buffers = []
        for p, _ in members:
            state = self.state[p]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            buffers.append(state["momentum_buffer"])
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        first = gradients[0]
        elements = sum(g.numel() for g in gradients)
        dtype = torch.promote_types(first.dtype, torch.float32)
        scratch = self.__dict__.setdefault("_scratch", Scratch())
        stack = scratch.take("stack", (elements // (rows * columns), rows, columns), dtype, first.device)
        pieces = stack.split([g.numel() // (rows * columns) for g in gradients])
        for piece, gradient, buffer in zip(pieces, gradients, buffers, strict=True):
            if nesterov:
                torch.lerp(gradient, buffer, momentum, out=piece.view(gradient.shape))
            else:
                piece.copy_(buffer.view(piece.shape))
        orthogonalize_(stack, COEFFICIENTS[coefficients], scratch, steps=ns_steps, precision=precision)
        triples = zip(members, pieces, strict=True)
        for (lr, weight_decay, scale), run in groupby(
            triples, key=lambda t: (t[0][1]["lr"], t[0][1]["weight_decay"], t[0][1]["scale"])
        ):
            todo = list(run)
            parameters = [p for (p, _), _ in todo]
            torch._foreach_mul_(parameters, 1 - lr * weight_decay)
            torch._foreach_add_(
                parameters, [o.view(p.shape) for (p, _), o in todo], alpha=-lr * SCALES[scale](rows, columns)
            )


def _stacks(
    members: Sequence[tuple[Tensor, dict[str, Any]]], limit: int
) -> Iterable[list[tuple[Tensor, dict[str, Any]]]]:
    """Consecutive members with at most ``limit`` elements together, at least one each."""
    stack: list[tuple[Tensor, dict[str, Any]]] = []
    elements = 0
    for member in members:
        size = member[0].numel()
        if stack and elements + size > limit:
            yield stack
            stack, elements = [], 0
        stack.append(member)
        elements += size
    if stack:
        yield stack

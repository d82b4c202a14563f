"""SOAP (2409.11321): Adam in the eigenbasis of Shampoo's preconditioner, for hidden matrices; AdamW elsewhere.

    G' = Q_L^T G Q_R,   M <- beta1 M + (1 - beta1) G,   V <- beta2 V + (1 - beta2) G'^2   (Adam, in the basis)
    W <- (1 - lr weight_decay) W - lr Q_L [(Q_L^T M Q_R) / (1 - beta1^t) / (sqrt(V / (1 - beta2^t)) + eps)] Q_R^T
    L <- beta3 L + (1 - beta3) G G^T,   R <- beta3 R + (1 - beta3) G^T G
    every ``frequency`` steps:  Q_L <- the Q of QR(L Q_L), Q_R <- the Q of QR(R Q_R)   (one power iteration)

Sources: Algorithms 3 and 4, and the authors' code: a first gradient sets L, R and, by an eigendecomposition, Q_L
and Q_R, and moves nothing; t counts from the next. Columns of Q are put in order of falling Rayleigh quotient
before QR, and V's rows and columns with them. Bias is corrected and weights decay as in AdamW, which this is with
identity bases. The authors' code also turns the width of embedding and readout, which AdamW trains here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from baselines.optimizers._batched import (
    BatchedOptimizer,
    alike,
    gather,
    gradients_of,
    moving,
    pieces,
    scatter_,
    stacks,
)
from baselines.optimizers._groups import (
    ADAM_FLOPS_PER_PARAMETER,
    NonNegative,
    Positive,
    SearchSpace,
    Share,
    adam_group,
    adam_step,
    refuse_other_shapes,
    stack_shape,
)
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Family, Role
from harness.registry import register

SIDES = (("L", "Q_L", -2), ("R", "Q_R", -1))
"""Preconditioner, basis and axis of each side of a matrix."""


@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class SOAP:
    """Adam in a slowly turning eigenbasis on hidden matrices, AdamW on the rest. Needs: lr."""

    lr: Positive
    """Peak learning rate, of the size of AdamW's: the rotated update has the RMS of Adam's."""
    weight_decay: NonNegative = 0.1
    """Decoupled weight decay; a step multiplies weights by 1 - lr * weight_decay."""
    beta1: Share = 0.95
    """Decay of the first moment, a step."""
    beta2: Share = 0.95
    """Decay of the second moment in the eigenbasis, a step."""
    beta3: Share | None = None
    """Decay of the preconditioners L and R, a step; null: beta2, as in the paper."""
    eps: Positive = 1e-8
    """Added to the root of the second moment (units of the gradient)."""
    frequency: Annotated[int, Ge(1)] = 10
    """Steps from one update of the eigenbases to the next."""
    max_side: Annotated[int, Ge(1)] = 10_000
    """Longest side of a matrix that gets a basis; a longer one keeps its own axes (both longer: this is AdamW, but
    for the first step)."""
    adam_lr: Positive | None = None
    """Peak learning rate of embedding, readout and vectors; null: lr."""
    adam_beta1: Share = 0.9
    """Decay of the Adam part's first moment, a step."""
    adam_beta2: Share = 0.95
    """Decay of the Adam part's second moment, a step."""
    decay_vectors: bool = False
    """Whether gains, biases and scalars decay too."""

    search_space: ClassVar[SearchSpace] = {"lr": (2**-10, 2**-5, "log2")}

    def family(self, role: Role) -> Family:
        """Adam's, of every role: a rotation leaves the update's RMS."""
        return "adam"

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """One torch group for each of ``groups``, with their multipliers.

        Raises HarnessError for a hidden parameter that is neither a matrix nor a stack of matrices.
        """
        return RotatedAdam([self._torch_group(group) for group in groups])

    def _torch_group(self, group: ParameterGroup) -> dict[str, Any]:
        rotated = group.role == "hidden"
        if rotated:
            refuse_other_shapes(group, "SOAP")
        part = adam_group(
            group,
            lr=self.lr if rotated or self.adam_lr is None else self.adam_lr,
            weight_decay=self.weight_decay,
            decay_vectors=self.decay_vectors,
            betas=(self.beta1, self.beta2) if rotated else (self.adam_beta1, self.adam_beta2),
            eps=self.eps,
        )
        beta3 = self.beta2 if self.beta3 is None else self.beta3
        return {**part, "rotated": rotated, "beta3": beta3, "frequency": self.frequency, "max_side": self.max_side}

    def flops_per_step(self, shapes: Sequence[tuple[Role, tuple[int, ...]]]) -> float:
        """AdamW's 14 a parameter, and for each rotated side of k of a hidden matrix m x n, on average over steps:

        three rotations and the preconditioner's product, 2 k m n each; its decay and sum, 3 k^2; and once in
        ``frequency`` steps the power iteration 2 k^3, its quotients 2 k^2 and QR with Q formed, 8/3 k^3.
        """
        total = 0.0
        for role, shape in shapes:
            total += ADAM_FLOPS_PER_PARAMETER * math.prod(shape)
            if role == "hidden":
                matrices, rows, columns = stack_shape(shape)
                for k in (rows, columns):
                    if k <= self.max_side:
                        turn = (2 + 8 / 3) * k**3 + 2 * k**2
                        total += matrices * (8 * k * rows * columns + 3 * k**2 + turn / self.frequency)
        return total


class RotatedAdam(BatchedOptimizer):
    """SOAP for groups marked ``rotated``, AdamW for the others."""

    def advance(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            if not group["rotated"]:
                adam_step(self.state, group)
                continue
            for equal in alike(moving(group), lambda p: self.state[p].get("steps")):
                for parameters in stacks(equal):
                    if self.state[parameters[0]]:
                        self._update(parameters, group)
                    else:
                        self._begin(parameters, group)

    def _begin(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        G = gather(gradients_of(parameters))
        for p in parameters:
            self.state[p].update(steps=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        for name, basis, axis in SIDES:
            side = G.shape[axis]
            if side <= group["max_side"]:
                P = outer(G, axis).mul_(1 - group["beta3"])
                Q = torch.linalg.eigh(P).eigenvectors.flip(-1)
                for key, stack in ((name, P), (basis, Q)):
                    for p in parameters:
                        self.state[p][key] = p.new_zeros(*p.shape[:-2], side, side)
                    scatter_(stack, [self.state[p][key] for p in parameters])

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        def held(key: str) -> list[Tensor]:
            return [self.state[p][key] for p in parameters]

        sides = [side for side in SIDES if side[0] in self.state[parameters[0]]]
        t = self.state[parameters[0]]["steps"] + 1
        for p in parameters:
            self.state[p]["steps"] = t
        beta1, beta2 = group["betas"]
        gradients = gradients_of(parameters)
        torch._foreach_lerp_(held("exp_avg"), gradients, 1 - beta1)
        G, M, V = gather(gradients), gather(held("exp_avg")), gather(held("exp_avg_sq"))
        bases = {axis: gather(held(basis)) for _, basis, axis in sides}
        rotated = rotate(G, bases)
        V.mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        roots = (V / (1 - beta2**t)).sqrt_().add_(group["eps"])
        U = rotate(rotate(M, bases).div_(roots), {axis: Q.mT for axis, Q in bases.items()})
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, pieces(U, parameters), alpha=-group["lr"] / (1 - beta1**t))

        # After the step, so that no gradient is seen in a basis that it made.
        for name, basis, axis in sides:
            torch._foreach_lerp_(held(name), pieces(outer(G, axis), held(name)), 1 - group["beta3"])
            if t % group["frequency"] == 0:
                Q, order = turned(gather(held(name)), bases[axis])
                scatter_(Q, held(basis))
                V = V.take_along_dim(order[:, :, None] if axis == -2 else order[:, None, :], axis)
        scatter_(V, held("exp_avg_sq"))


def outer(G: Tensor, axis: int) -> Tensor:
    """G G^T for axis -2, G^T G for axis -1; G: (number, rows, columns)."""
    return G @ G.mT if axis == -2 else G.mT @ G


def rotate(X: Tensor, bases: Mapping[int, Tensor]) -> Tensor:
    """Q_L^T X Q_R with the bases of the axes -2 (Q_L) and -1 (Q_R) that there are; X: (number, rows, columns)."""
    if -2 in bases:
        X = bases[-2].mT @ X
    return X @ bases[-1] if -1 in bases else X


def turned(P: Tensor, Q: Tensor) -> tuple[Tensor, Tensor]:
    """(basis nearer to the eigenvectors of P, place of each of its columns in Q): one step of subspace iteration.

    P: (number, k, k) symmetric; Q: (number, k, k) orthogonal. The columns come in order of falling q^T P q.
    """
    S = P @ Q
    order = (Q * S).sum(-2).argsort(dim=-1, descending=True, stable=True)
    return torch.linalg.qr(S.take_along_dim(order[:, None, :], -1)).Q, order

"""A method beside a plain form of it, in float64, one matrix at a time: rates change, a gradient is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Role
from tests.baselines.optimizers.toys import make_groups, parameters

Step = Callable[[Tensor, float], Tensor]
"""(gradient, learning rate of this step) -> weights after it."""
Plain = Callable[[Tensor, Role], Step]
"""(initial weights, role) -> the steps of one matrix or vector, by the paper's formulas."""

STEPS = 20
MISSING = 7, ("embedding", "also_wide")
"""Step, and the parameters that have no gradient in it: one alone in its group, one among others."""

SMALL: list[tuple[Role, str, tuple[int, ...]]] = [
    ("embedding", "embedding", (9, 6)),
    ("hidden", "fused", (3, 6, 6)),
    ("hidden", "square", (6, 6)),
    ("hidden", "wide", (4, 10)),
    ("hidden", "tall", (10, 4)),
    ("hidden", "also_wide", (4, 10)),
    ("readout", "head", (9, 6)),
    ("vector", "gain", (6,)),
]
"""A small transformer's roles, with equal shapes in several parameters."""


def in_double(groups: Sequence[ParameterGroup]) -> list[ParameterGroup]:
    """One group a role, with the parameters in float64, where a sign or a basis does not hang on rounding."""
    found: dict[Role, ParameterGroup] = {}
    for group in groups:
        group.parameters = [nn.Parameter(p.detach().double()) for p in group.parameters]
        if group.role in found:
            found[group.role].parameters += group.parameters
            found[group.role].names += group.names
        else:
            found[group.role] = group
    return list(found.values())


def gradients(step: int, spec: Sequence[tuple[Role, str, tuple[int, ...]]]) -> list[Tensor]:
    """Unit normals of a step, with a common part that does not change, so that means differ from zero."""
    fixed = torch.Generator().manual_seed(77)
    moving = torch.Generator().manual_seed(100 + step)
    found = []
    for _, _, shape in spec:
        common, fresh = (torch.randn(shape, generator=g, dtype=torch.float64) for g in (fixed, moving))
        found.append(0.5 * common + fresh)
    return found


def factor(step: int) -> float:
    """Learning rate of a step over its peak: it warms up and falls."""
    return min(1.0, (step + 1) / 4) * (1 - 0.02 * step)


def errors(
    method: Any,
    plain: Plain,
    spec: Sequence[tuple[Role, str, tuple[int, ...]]] = SMALL,
) -> dict[str, float]:
    """Name -> largest distance from the plain form over what was moved, after each of STEPS steps."""
    groups = in_double(make_groups(spec))
    optimizer = method.build(groups)
    if hasattr(optimizer, "train"):
        optimizer.train()
    peaks = {g["role"]: g["lr"] for g in optimizer.param_groups}
    found = dict.fromkeys((name for _, name, _ in spec), 0.0)
    starts = [p.detach().clone() for p in parameters(groups)]
    plains = [
        [plain(matrix, role) for matrix in (start.unbind(0) if start.ndim == 3 else [start])]
        for start, (role, _, _) in zip(starts, spec, strict=True)
    ]
    wanted = [s.clone() for s in starts]
    for step in range(STEPS):
        drawn = gradients(step, spec)
        for group in optimizer.param_groups:
            group["lr"] = peaks[group["role"]] * factor(step)
        for p, g, (_, name, _) in zip(parameters(groups), drawn, spec, strict=True):
            p.grad = None if step == MISSING[0] and name in MISSING[1] else g.clone()
        optimizer.step()
        for index, (p, g, (role, name, _)) in enumerate(zip(parameters(groups), drawn, spec, strict=True)):
            if p.grad is not None:
                assert torch.equal(p.grad, g), "the gradient was changed"
                parts = g.unbind(0) if g.ndim == 3 else [g]
                lr = peaks[role] * factor(step)
                each = [one(part, lr) for one, part in zip(plains[index], parts, strict=True)]
                wanted[index] = torch.stack(each) if g.ndim == 3 else each[0]
            distance = (p.detach() - wanted[index]).norm() / (wanted[index] - starts[index]).norm().clamp_min(1e-12)
            found[name] = max(found[name], float(distance))
    return found

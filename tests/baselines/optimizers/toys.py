"""Groups of parameters with gradients, as a small transformer would hand them over; and the exact iteration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from baselines.optimizers._newton_schulz import COEFFICIENTS, polynomial
from harness.methods.optimizer import ParameterGroup
from harness.methods.parametrization import Scaling
from harness.methods.roles import Role

TRANSFORMER: list[tuple[Role, str, tuple[int, ...]]] = [
    ("embedding", "embedding", (40, 16)),
    ("hidden", "qkv", (3, 16, 16)),
    ("hidden", "out", (16, 16)),
    ("hidden", "up", (64, 16)),
    ("hidden", "down", (16, 64)),
    ("readout", "head", (40, 16)),
    ("vector", "gain", (16,)),
]


def make_groups(
    spec: Sequence[tuple[Role, str, tuple[int, ...]]] = TRANSFORMER,
    *,
    seed: int = 0,
    scaling: Scaling | None = None,
) -> list[ParameterGroup]:
    """One group a parameter, values and gradients drawn from ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    groups = []
    for role, name, shape in spec:
        p = nn.Parameter(0.1 * torch.randn(shape, generator=generator))
        p.grad = torch.randn(shape, generator=generator)
        fan_out, fan_in = shape[-2:] if len(shape) > 1 else (shape[0], 1)
        groups.append(
            ParameterGroup(
                role=role,
                names=[name],
                parameters=[p],
                fan_in=fan_in,
                fan_out=fan_out,
                scaling=scaling or Scaling(init_std=0.0),
            )
        )
    return groups


def hidden(*shapes: tuple[int, ...], seed: int = 0, scaling: Scaling | None = None) -> list[ParameterGroup]:
    """Hidden matrices alone."""
    return make_groups([("hidden", f"w{i}", s) for i, s in enumerate(shapes)], seed=seed, scaling=scaling)


def parameters(groups: Sequence[ParameterGroup]) -> list[nn.Parameter]:
    return [p for group in groups for p in group.parameters]


def values(groups: Sequence[ParameterGroup]) -> list[torch.Tensor]:
    return [p.detach().clone() for p in parameters(groups)]


def draw_gradients(groups: Sequence[ParameterGroup], seed: int) -> None:
    """New gradients, the same for equal shapes in equal order."""
    generator = torch.Generator().manual_seed(1000 + seed)
    for p in parameters(groups):
        p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)


def side_by_side(one, ours, two, theirs, step: int) -> None:
    """A step of each of two optimizers on equal gradients of its own groups."""
    draw_gradients(ours, step)
    draw_gradients(theirs, step)
    one.step()
    two.step()


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """||a - b||_F / ||b||_F."""
    return float((a.double() - b.double()).norm() / b.double().norm())


def exact(X: torch.Tensor, name: str, steps: int | None = None) -> torch.Tensor:
    """Newton-Schulz's result by singular value decomposition in float64."""
    chosen = COEFFICIENTS[name]
    U, s, Vh = torch.linalg.svd(X.double(), full_matrices=False)
    s = polynomial(s / (s.norm() * chosen.norm_factor), chosen.schedule(steps))
    return (U * s) @ Vh

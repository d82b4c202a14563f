"""Parameters that know their place, so that one function can scale, initialise and group any model's.

A module makes each of its weights with :func:`weight`. The multipliers of a parametrization follow from the
weight's place and from the place of the same weight in the base model (2203.03466, App. B.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from harness.errors import HarnessError
from harness.methods.optimizer import Optimizer, ParameterGroup
from harness.methods.parametrization import ParameterShape, Parametrization, Scaling
from harness.methods.roles import Role
from harness.streams import Streams


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a parameter stands in its model."""

    role: Role
    fan_in: int
    """Inputs of the map (vocabulary for an embedding, 1 for a vector)."""
    fan_out: int
    """Outputs of the map; of one matrix, where the parameter is a stack."""
    residual: bool = False
    """Whether it lies inside a residual branch."""
    zero_init: bool = False
    """Whether the model asks for zeros."""
    zero_members: tuple[int, ...] = ()
    """Members of a stack that start at zero."""


def weight(
    shape: tuple[int, ...],
    role: Role,
    *,
    residual: bool = False,
    zero_init: bool = False,
    zero_members: tuple[int, ...] = (),
) -> nn.Parameter:
    """An uninitialised (fan_out, fan_in) matrix, or (matrices, fan_out, fan_in) stack, that knows its place.

    An embedding has shape (vocabulary, width): its fan-in is the vocabulary.
    """
    parameter = nn.Parameter(torch.empty(shape))
    fan_out, fan_in = shape[-2:] if role != "embedding" else (shape[1], shape[0])
    parameter.place = Place(  # type: ignore[attr-defined]
        role=role, fan_in=fan_in, fan_out=fan_out, residual=residual, zero_init=zero_init,
        zero_members=zero_members,
    )
    return parameter


def mark_residual(module: nn.Module) -> nn.Module:
    """Say that a norm's gains (or any vectors without a place) lie inside a residual branch."""
    for parameter in module.parameters():
        if not hasattr(parameter, "place"):
            parameter.place = Place(  # type: ignore[attr-defined]
                role="vector", fan_in=1, fan_out=parameter.numel(), residual=True
            )
    return module


def places(model: nn.Module) -> dict[str, Place]:
    """Name -> place of every trained parameter; one that does not know its place is a vector."""
    return {
        name: getattr(p, "place", None) or Place(role="vector", fan_in=1, fan_out=p.numel())
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def scalings(
    model: nn.Module,
    base: Mapping[str, Place],
    depths: tuple[int, int],
    parametrization: Parametrization,
    optimizer: Optimizer,
) -> dict[str, Scaling]:
    """Name -> scaling. ``base``: the places of the base model; ``depths``: residual layers here and there.

    Deeper layers than the base model has take the place of its last layer of that name.
    """
    out = {}
    for name, place in places(model).items():
        there = base.get(name) or _alike(name, base)
        shape = ParameterShape(
            role=place.role, fan_in=place.fan_in, fan_out=place.fan_out,
            base_fan_in=there.fan_in, base_fan_out=there.fan_out,
            depth=depths[0], base_depth=depths[1], residual=place.residual, zero_init=place.zero_init,
        )
        out[name] = parametrization.scaling(shape, optimizer.family(place.role))
    return out


def _alike(name: str, base: Mapping[str, Place]) -> Place:
    def pattern(text: str) -> str:
        return ".".join("#" if part.isdigit() else part for part in text.split("."))

    found = [place for other, place in base.items() if pattern(other) == pattern(name)]
    assert found, f"{name}: the base model has no such parameter"
    return found[-1]


@torch.no_grad()
def initialise(model: nn.Module, scaling: Mapping[str, Scaling], streams: Streams) -> None:
    """Draw every weight from (seed, size, name), scaled to its std; vectors keep what their module set.

    Also hands each module its forward multiplier. HarnessError if a weight's module cannot apply one.
    """
    for name, parameter in model.named_parameters():
        if name not in scaling:
            continue
        owner = model.get_submodule(name.rpartition(".")[0])
        if hasattr(owner, "multiplier"):
            owner.multiplier = scaling[name].forward  # type: ignore[assignment]
        elif scaling[name].forward != 1.0:
            raise HarnessError(
                f"parameter {name!r}: the parametrization asks for a forward multiplier "
                f"{scaling[name].forward:g}, which {type(owner).__name__} does not apply"
            )
        place = getattr(parameter, "place", None)
        if place is None or place.role == "vector":
            continue
        if scaling[name].init_std == 0:
            parameter.zero_()
            continue
        draw = streams.normal("init", name, tuple(parameter.shape))
        parameter.copy_(draw.mul_(scaling[name].init_std))
        for member in place.zero_members:
            parameter[member].zero_()


def parameter_groups(model: nn.Module, scaling: Mapping[str, Scaling]) -> list[ParameterGroup]:
    """Parameters of equal role, fans and scaling together, in order of first appearance."""
    groups: dict[tuple[Role, int, int, Scaling], ParameterGroup] = {}
    where = places(model)
    for name, parameter in model.named_parameters():
        if name not in where:
            continue
        place = where[name]
        key = (place.role, place.fan_in, place.fan_out, scaling[name])
        if key not in groups:
            groups[key] = ParameterGroup(
                role=place.role, names=[], parameters=[], fan_in=place.fan_in, fan_out=place.fan_out,
                scaling=scaling[name],
            )
        groups[key].names.append(name)
        groups[key].parameters.append(parameter)
    return list(groups.values())

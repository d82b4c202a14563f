"""Contract of the kind ``optimizer``."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch

from harness.methods.modes import evaluating, missing_switch
from harness.methods.optimizer import Optimizer, ParameterGroup
from harness.methods.parametrization import Scaling
from harness.methods.roles import Role

PROTOCOL = Optimizer
STEPS = 3

_SHAPES: tuple[tuple[Role, tuple[int, ...]], ...] = (
    ("embedding", (12, 8)), ("hidden", (8, 8)), ("hidden", (16, 8)), ("hidden", (3, 8, 8)), ("readout", (12, 8)),
    ("vector", (8,)),
)  # fmt: skip


def _groups(scaling: Scaling | None = None) -> list[ParameterGroup]:
    generator = torch.Generator().manual_seed(0)
    out = []
    for number, (role, shape) in enumerate(_SHAPES):
        parameter = torch.nn.Parameter(torch.randn(shape, generator=generator))
        out.append(ParameterGroup(
            role=role, names=[f"p{number}"], parameters=[parameter], fan_in=1 if role == "vector" else shape[-1],
            fan_out=shape[-1] if role == "vector" else shape[-2], scaling=scaling or Scaling(init_std=1.0),
        ))  # fmt: skip
    return out


def _gradients(groups: list[ParameterGroup], step: int) -> None:
    generator = torch.Generator().manual_seed(step + 1)
    for group in groups:
        for p in group.parameters:
            p.grad = torch.randn(p.shape, generator=generator)


def _built(method: Any, groups: list[ParameterGroup]) -> Any:
    optimizer = method.build(groups)
    if hasattr(optimizer, "train"):
        optimizer.train()
    return optimizer


def _trained(
    method: Any, scaling: Scaling | None = None, evaluated: bool = False
) -> tuple[list[torch.Tensor], Any, list[ParameterGroup]]:
    groups = _groups(scaling)
    optimizer = _built(method, groups)
    model = torch.nn.ParameterList(p for g in groups for p in g.parameters)
    for step in range(STEPS):
        _gradients(groups, step)
        optimizer.step()
        if evaluated:
            with evaluating(model, optimizer):
                pass
    return [p.detach().clone() for g in groups for p in g.parameters], optimizer, groups


def check(method: Any) -> Iterator[str]:
    """Breaches of the optimizer's contract."""
    first, optimizer, groups = _trained(method)
    held = {id(p) for g in optimizer.param_groups for p in g["params"]}
    given = [(n, p) for g in groups for n, p in zip(g.names, g.parameters, strict=True)]
    storages = {p.untyped_storage().data_ptr() for g in optimizer.param_groups for p in g["params"]}
    lost = [n for n, p in given if id(p) not in held and p.untyped_storage().data_ptr() not in storages]
    if lost:
        yield f"build: parameters {', '.join(lost)} are in no group of the optimizer"
    for number, group in enumerate(optimizer.param_groups):
        if "lr" not in group:
            yield f"build: group {number} has no 'lr', which the schedule scales"
    start = [p.detach() for g in _groups() for p in g.parameters]
    for (name, _), before, after in zip(given, start, first, strict=True):
        if not torch.isfinite(after).all():
            yield f"step: {name} is not finite after {STEPS} steps on unit normal gradients"
        elif torch.equal(before, after):
            yield f"step: {name} did not change in {STEPS} steps"
    again, _, _ = _trained(method)
    if any(not torch.equal(a, b) for a, b in zip(first, again, strict=True)):
        yield "step: two runs on equal gradients differ; make it deterministic on a CPU"
    halved, _, _ = _trained(method, Scaling(init_std=1.0, lr=0.5))
    if all(torch.equal(a, b) for a, b in zip(first, halved, strict=True)):
        yield "build: scaling.lr of the groups is ignored"
    yield from _resumes(method)
    yield from _evaluates(method, optimizer, first)
    for role in ("embedding", "hidden", "readout", "vector"):
        family = method.family(role)
        if family not in ("adam", "muon", "sgd"):
            yield f"family({role!r}) is {family!r}; valid: adam, muon, sgd"
    flops = method.flops_per_step(list(_SHAPES))
    if not flops > 0:
        yield f"flops_per_step is {flops!r}, expected a positive number"


def _resumes(method: Any) -> Iterator[str]:
    _, optimizer, groups = _trained(method)
    other = [dataclasses.replace(g, parameters=[torch.nn.Parameter(p.detach().clone()) for p in g.parameters])
             for g in groups]  # fmt: skip
    resumed = _built(method, other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gs, o in ((groups, optimizer), (other, resumed)):
        _gradients(gs, STEPS)
        o.step()
    pairs = zip(groups, other, strict=True)
    if any(not torch.equal(a, b) for g, h in pairs for a, b in zip(g.parameters, h.parameters, strict=True)):
        yield "state_dict: a run resumed from it differs from the undisturbed one"


def _evaluates(method: Any, optimizer: Any, undisturbed: list[torch.Tensor]) -> Iterator[str]:
    if problem := missing_switch(optimizer):
        yield f"build: {problem}"
    elif hasattr(optimizer, "eval"):
        evaluated, _, _ = _trained(method, evaluated=True)
        if any(not torch.equal(a, b) for a, b in zip(undisturbed, evaluated, strict=True)):
            yield "eval, train: a run that was evaluated after each step differs from the undisturbed one"

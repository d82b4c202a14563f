"""Contract checks of the method kinds, for baselines and for a user's file alike.

Each check says which clause is broken, with the observed value. Needs torch.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch

from harness import registry
from harness.errors import HarnessError
from harness.methods import PROTOCOLS, ParameterGroup, ParameterShape, Role, Scaling

Check = Callable[[Any], Iterator[str]]
STEPS = 3


def check_method(kind: str, name: str) -> list[str]:
    """Every breach of the kind's contract, in words; empty where the method keeps it."""
    where = f"{kind} {name!r}"
    if reason := registry.unavailable(kind, name):
        return [f"{where}: cannot run here: {reason}"]
    try:
        method = default_instance(kind, name)
    except HarnessError as error:
        return [str(error)]
    protocol = PROTOCOLS.get(kind)
    if protocol is None:
        return []
    missing = [m for m in _members(protocol) if not hasattr(method, m)]
    if missing:
        return [f"{where}: lacks {', '.join(missing)}; see {protocol.__name__} in harness.methods"]
    try:
        return [f"{where}: {problem}" for problem in CHECKS[kind](method)]
    except Exception as error:
        return [f"{where}: {type(error).__name__} while checking: {error}"]


def default_instance(kind: str, name: str) -> Any:
    """The method with its defaults; a required learning rate is set to 0.01."""
    cls = registry.method_class(kind, name)
    config: dict[str, Any] = {"name": name}
    for f in dataclasses.fields(cls):
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            if f.name != "lr":
                raise HarnessError(f"{kind} {name!r}: field {f.name!r} needs a default, so that it can be checked")
            config["lr"] = 0.01
    return registry.build(kind, config)


def _members(protocol: type) -> list[str]:
    return [m for m in {**protocol.__annotations__, **vars(protocol)} if not m.startswith("_")]


# --- optimizer ---------------------------------------------------------------------------------------------

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


def _trained(method: Any, scaling: Scaling | None = None) -> tuple[list[torch.Tensor], Any, list[ParameterGroup]]:
    groups = _groups(scaling)
    optimizer = method.build(groups)
    for step in range(STEPS):
        _gradients(groups, step)
        optimizer.step()
    return [p.detach().clone() for g in groups for p in g.parameters], optimizer, groups


def _optimizer(method: Any) -> Iterator[str]:
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
    resumed = method.build(other)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gs, o in ((groups, optimizer), (other, resumed)):
        _gradients(gs, STEPS)
        o.step()
    pairs = zip(groups, other, strict=True)
    if any(not torch.equal(a, b) for g, h in pairs for a, b in zip(g.parameters, h.parameters, strict=True)):
        yield "state_dict: a run resumed from it differs from the undisturbed one"


# --- the others --------------------------------------------------------------------------------------------


def _parametrization(method: Any) -> Iterator[str]:
    shapes: tuple[tuple[Role, int, int], ...] = (
        ("embedding", 256, 64), ("hidden", 64, 64), ("hidden", 64, 256), ("readout", 64, 256), ("vector", 1, 64)
    )  # fmt: skip
    for role, fan_in, fan_out in shapes:
        shape = ParameterShape(role=role, fan_in=fan_in, fan_out=fan_out, base_fan_in=fan_in, base_fan_out=fan_out)
        scaling = method.scaling(shape, "adam")
        if not isinstance(scaling, Scaling):
            yield f"scaling({role}) is {type(scaling).__name__}, expected Scaling"
            continue
        if scaling != method.scaling(shape, "adam"):
            yield f"scaling({role}) is not a pure function: two calls differ"
        if (scaling.lr, scaling.weight_decay, scaling.eps) != (1.0, 1.0, 1.0):
            yield f"scaling({role}) at the base shape has multipliers {scaling}; expected 1"
        if scaling.init_std < 0:
            yield f"scaling({role}).init_std is {scaling.init_std}, expected at least 0"
    zero = ParameterShape(role="readout", fan_in=8, fan_out=8, base_fan_in=8, base_fan_out=8, zero_init=True)
    if method.scaling(zero, "adam").init_std != 0:
        yield "scaling: zero_init asks for init_std 0"
    if not method.attention_scale(16, 16) > 0:
        yield f"attention_scale(16, 16) is {method.attention_scale(16, 16)}, expected a positive number"
    if method.residual_scale(4, 4) != 1.0:
        yield f"residual_scale at the base depth is {method.residual_scale(4, 4)}, expected 1"


def _norm(method: Any) -> Iterator[str]:
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for site in ("attention", "feed_forward", "final"):
        y = method.build(16, site)(x)
        if y.shape != x.shape:
            yield f"build(16, {site!r}) turns {tuple(x.shape)} into {tuple(y.shape)}; the shape must stay"
        elif not torch.isfinite(y).all():
            yield f"build(16, {site!r}) is not finite on unit normals"
        else:
            (gradient,) = torch.autograd.grad(y.square().sum(), x, allow_unused=True)
            if gradient is None or not torch.isfinite(gradient).all():
                yield f"build(16, {site!r}) has no finite gradient"
    scale = method.embedding_scale(16)
    if scale is not None and not scale > 0:
        yield f"embedding_scale(16) is {scale}, expected None or a positive number"


def _rank(method: Any) -> Iterator[str]:
    s = torch.linspace(2.0, 0.1, 8, dtype=torch.float64)
    value = method(torch.stack([s, s]), (8, 8))
    if value.shape != (2,):
        yield f"of singular values (2, 8) has shape {tuple(value.shape)}, expected (2,)"
    zero = method(torch.zeros(8, dtype=torch.float64), (8, 8))
    if not torch.isfinite(zero).all():
        yield f"of a zero matrix is {zero}; define it"
    if "id" not in method.definition():
        yield f"definition() lacks 'id'; it has {sorted(method.definition())}"


CHECKS: dict[str, Check] = {
    "optimizer": _optimizer, "parametrization": _parametrization, "norm": _norm, "rank": _rank
}  # fmt: skip

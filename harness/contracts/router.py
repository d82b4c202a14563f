"""Contract of the kind ``router``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.methods.router import Router, Routing

PROTOCOL = Router
B, T, E, ACTIVE = 4, 32, 8, 2.0


def check(method: Any) -> Iterator[str]:
    """Breaches of the router's contract."""
    logits = torch.randn(B, T, E, generator=torch.Generator().manual_seed(0)) + 0.5 * torch.randn(
        E, generator=torch.Generator().manual_seed(1)
    )
    state = method.init(E, ACTIVE, 1.0)
    yield from _state(state, "init")
    before = {name: value.clone() for name, value in state.items()}
    leaf = logits.clone().requires_grad_()
    routing: Routing = method.route(leaf, state, ACTIVE)
    yield from _routing(method, routing, leaf)
    yield from _pure(method, logits, state, before, routing)
    yield from _leaks(method, logits, state, routing)
    yield from _sums(method, logits, state, routing)
    yield from _update(method, state, before, routing)
    yield from _budgets(method)


def _state(state: Mapping[str, Tensor], where: str) -> Iterator[str]:
    for name, value in state.items():
        if value.dtype != torch.float32:
            yield f"{where}: state {name!r} is {value.dtype}; it must be float32, or small steps are lost"
        elif not torch.isfinite(value).all():
            yield f"{where}: state {name!r} is not finite: {value.tolist()}"


def _routing(method: Any, routing: Routing, logits: Tensor) -> Iterator[str]:
    chosen, gates, N = routing.chosen_NE, routing.gates_NE, B * T
    if chosen.dtype != torch.bool or chosen.shape != (N, E):
        yield f"route: chosen_NE is {chosen.dtype} {tuple(chosen.shape)}; expected bool {(N, E)}"
        return
    if gates.dtype != torch.float32 or gates.shape != (N, E):
        yield f"route: gates_NE is {gates.dtype} {tuple(gates.shape)}; expected float32 {(N, E)}"
        return
    if not torch.isfinite(gates).all():
        yield "route: gates_NE is not finite on ordinary logits"
    if method.fixed and not (chosen.sum(1) == int(ACTIVE)).all():
        yield f"route: fixed, but tokens have {sorted(set(chosen.sum(1).tolist()))} experts; expected {int(ACTIVE)}"
    if "counts" not in routing.sums:
        yield "route: sums has no 'counts'"
    elif routing.sums["counts"].dtype != torch.int64 or not torch.equal(routing.sums["counts"], chosen.sum(0)):
        yield "route: sums['counts'] is not chosen_NE.sum(0) in int64"
    gradient = None
    if gates.requires_grad:
        total = (gates * chosen).sum()
        (gradient,) = torch.autograd.grad(total, logits, retain_graph=True, allow_unused=True)
    if gradient is None or not torch.isfinite(gradient).all() or not gradient.any():
        yield "route: the gates of chosen experts give the logits no finite gradient, so the router cannot learn"
    loss = routing.loss
    if loss is not None and (loss.shape != () or not torch.isfinite(loss) or loss.dtype != torch.float32):
        yield f"route: loss is {loss.dtype} {tuple(loss.shape)} {loss}; expected a finite float32 scalar, or None"


def _pure(
    method: Any, logits: Tensor, state: dict[str, Tensor], before: Mapping[str, Tensor], first: Routing
) -> Iterator[str]:
    kept = torch.get_rng_state()
    again: Routing = method.route(logits, state, ACTIVE)
    if not torch.equal(kept, torch.get_rng_state()):
        yield "route draws random numbers; a choice is a function of state and logits"
    if not torch.equal(again.chosen_NE, first.chosen_NE) or not torch.equal(again.gates_NE, first.gates_NE):
        yield "route gives another answer the second time"
    if changed := [n for n in before if not torch.equal(before[n], state[n])]:
        yield f"route changes its state ({', '.join(changed)}); only update may, and it returns a new one"


def _leaks(method: Any, logits: Tensor, state: dict[str, Tensor], routing: Routing) -> Iterator[str]:
    """A token's choice and gates hang on nobody else's logits: a later token would leak into it."""
    other = logits.clone()
    other[:, T // 2 :] = torch.randn(B, T // 2, E, generator=torch.Generator().manual_seed(2)) * 2
    changed: Routing = method.route(other, state, ACTIVE)
    early = torch.arange(B * T) % T < T // 2
    moved = int((changed.chosen_NE != routing.chosen_NE)[early].any(1).sum())
    if moved:
        yield f"route: {moved} of {int(early.sum())} tokens choose otherwise when later tokens change: a leak"
    elif not torch.equal(changed.gates_NE[early], routing.gates_NE.detach()[early]):
        yield "route: gates of a token change when later tokens change: a leak"


def _sums(method: Any, logits: Tensor, state: dict[str, Tensor], routing: Routing) -> Iterator[str]:
    halves = [method.route(half, state, ACTIVE).sums for half in logits.chunk(2)]
    for name, whole in routing.sums.items():
        if not torch.equal(halves[0][name] + halves[1][name], whole):
            yield f"route: sums[{name!r}] of two halves do not add to the whole's, so accumulation would change it"


def _update(
    method: Any, state: dict[str, Tensor], before: Mapping[str, Tensor], routing: Routing
) -> Iterator[str]:
    new = method.update(state, routing.sums, B * T, ACTIVE)
    if set(new) != set(state):
        yield f"update returns {sorted(new)}; the state is {sorted(state)}"
        return
    yield from _state(new, "update")
    if changed := [n for n in before if not torch.equal(before[n], state[n])]:
        yield f"update changes the old state ({', '.join(changed)}) in place; it returns a new one"
    shapes = {n: (tuple(new[n].shape), tuple(state[n].shape)) for n in new if new[n].shape != state[n].shape}
    if shapes:
        yield f"update changes shapes: {shapes}"


def _budgets(method: Any) -> Iterator[str]:
    wrong = [E + 1.0, 0.0, -1.0, *([1.5, 0.5] if method.fixed else [])]
    for active in wrong:
        try:
            method.init(E, active, 1.0)
        except HarnessError:
            continue
        yield f"init takes a budget of {active:g} of {E} experts; it must raise HarnessError"

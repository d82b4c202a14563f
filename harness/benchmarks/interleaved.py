"""Forms of an operation timed in turn: each once a round, so that what slows the machine slows all of them.

A ratio within a round is what is kept and compared; a time alone says as much of the neighbours as of the code.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

Ceiling = Literal["copy", "product"]
ROUNDS = 15
"""Rounds of a run."""
LEAST = 2e-3
"""Seconds that a sample lasts at least: short forms are called several times."""
WARM = 2
"""Calls before the first that is timed: compilation, first allocations."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to do the operation of a case."""

    work: Callable[[], object]
    """A call; inputs stand ready, and nothing waits for a GPU in it."""
    bytes: float
    """What it must move at least: inputs read and results written, once each."""
    flops: float
    """Floating-point operations of the formula; a function of a number (tanh, erf, a root) counts one."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """An operation at a shape: its forms, the reference among them, and the machine's ceiling beside them."""

    name: str
    """Unique within the group: the shape and what is done."""
    reference: str
    """The form that the others are divided by."""
    forms: Mapping[str, Form]
    ceiling: Ceiling
    """What binds: moving bytes (a copy's rate), or arithmetic (a product's rate)."""
    best: Form
    """The copy or product that gives the ceiling, timed in the same rounds."""


def copy(numbers: int, device: str) -> Form:
    """A copy of so many float32 numbers."""
    source = torch.randn(numbers, device=device)
    target = torch.empty_like(source)
    return Form(work=lambda: target.copy_(source), bytes=8 * numbers, flops=0)


def product(side: int, device: str, dtype: torch.dtype = torch.float32) -> Form:
    """A product of two square matrices."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return Form(
        work=lambda: torch.mm(a, b, out=out), bytes=3 * side**2 * a.element_size(), flops=2 * side**3
    )  # fmt: skip


def timer(device: str) -> Callable[[Callable[[], object], int], float]:
    """(work, calls) -> seconds a call: of this thread's processor time, or between events of a GPU.

    Processor time leaves out what other processes did meanwhile; it counts one thread, so work has no more.
    """
    if device.startswith("cuda"):
        return _between_events
    if torch.get_num_threads() != 1:
        raise RuntimeError(f"timing by a thread's own clock needs one thread, not {torch.get_num_threads()}")
    return _on_this_thread


def _on_this_thread(work: Callable[[], object], calls: int) -> float:
    began = time.thread_time()
    for _ in range(calls):
        work()
    return (time.thread_time() - began) / calls


def _between_events(work: Callable[[], object], calls: int) -> float:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    for _ in range(calls):
        work()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / 1e3 / calls


def measure(
    forms: Mapping[str, Form], time_of: Callable[[Callable[[], object], int], float], rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Seconds a call of each form, round by round; who begins a round moves on by one."""
    calls = {}
    for name, form in forms.items():
        for _ in range(WARM):
            form.work()
        # A clock may tick too slowly to see one call.
        calls[name] = math.ceil(LEAST / max(time_of(form.work, 1), LEAST / 1000))
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    order = list(forms)
    for _ in range(rounds):
        for name in order:
            seconds[name].append(time_of(forms[name].work, calls[name]))
        order = [*order[1:], order[0]]
    return seconds

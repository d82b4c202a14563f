"""Forms of an operation timed in turn: each once a round, so that what slows the machine slows all of them.

A ratio within a round is what is kept and compared; a time alone says as much of the neighbours as of the code. Two
more things move a time by half and more: what neighbours do to the caches, against which a round keeps the least of
a few turns; and where in memory the inputs lie, which stays for a whole process unless they move every round.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

Ceiling = Literal["copy", "product"]
TURNS = 3
"""Of each form in a round, of which the quickest counts."""
LEAST = 5e-4
"""Seconds that a turn lasts at least: short forms are called several times."""
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
    move: Callable[[], object] = lambda: None
    """Puts the inputs elsewhere in memory; before every round."""


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
    both = Moving(torch.zeros(numbers, device=device), torch.randn(numbers, device=device))
    return Form(work=lambda: both.tensors[0].copy_(both.tensors[1]), bytes=8 * numbers, flops=0, move=both.move)


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
    forms: Mapping[str, Form], time_of: Callable[[Callable[[], object], int], float], rounds: int
) -> dict[str, list[float]]:
    """Seconds a call of each form, round by round; who begins a turn moves on by one."""
    calls = {}
    for name, form in forms.items():
        for _ in range(WARM):
            form.work()
        # A clock may tick too slowly to see one call.
        calls[name] = math.ceil(LEAST / max(time_of(form.work, 1), LEAST / 1000))
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    order = list(forms)
    for _ in range(rounds):
        for form in forms.values():
            form.move()
        turns: dict[str, list[float]] = {name: [] for name in forms}
        for _ in range(TURNS):
            for name in order:
                turns[name].append(time_of(forms[name].work, calls[name]))
            order = [*order[1:], order[0]]
        for name, found in turns.items():
            seconds[name].append(min(found))
    return seconds


class Moving:
    """Tensors that :meth:`move` copies to another place, behind a spacer of random size.

    ``tensors``: on any device; what they hold stays.
    """

    def __init__(self, *tensors: torch.Tensor) -> None:
        self.tensors = tensors
        self._spacer: torch.Tensor | None = None

    def move(self) -> None:
        """Unseeded: no number that is compared between forms hangs on it."""
        self._spacer = torch.empty(random.randrange(64, 2**20), dtype=torch.uint8, device=self.tensors[0].device)
        self.tensors = tuple(t.detach().clone().requires_grad_(t.requires_grad) for t in self.tensors)

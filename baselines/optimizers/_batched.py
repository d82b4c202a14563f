"""What the batched optimizers share: the frame of a step, what is alike together, equal matrices as one stack."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

STACK_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}
"""Device type -> most elements of one stack of equal matrices (at least one parameter), as measured for Muon."""


class BatchedOptimizer(torch.optim.Optimizer, ABC):
    """A torch optimizer whose subclass says in ``advance`` what one step does, without autograd.

    All that a step needs from the steps before lies in ``state``, parameter by parameter, as tensors of the
    parameter's dtype, integers and floats: the training loop keeps nothing else in a checkpoint.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; ``closure`` re-evaluates the loss, if given.

        Gradients are left as they are. A parameter without gradient is left alone, its state too.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.advance()
        return loss

    @abstractmethod
    def advance(self) -> None:
        """Update every parameter that has a gradient."""


def moving(group: dict[str, Any]) -> list[Tensor]:
    """The parameters of a torch group that have a gradient and elements."""
    return [p for p in group["params"] if p.grad is not None and p.numel()]


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The gradients of parameters that have one."""
    return [p.grad for p in parameters if p.grad is not None]


def alike(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """The items in lists of equal key, each list and the lists in order of first appearance."""
    found: dict[Hashable, list[T]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return list(found.values())


def stacks(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters whose matrices, or vectors, are worked on together: equal ones, STACK_ELEMENTS at most."""
    for equal in alike(parameters, lambda p: (p.shape[-2:], p.dtype, p.device)):
        limit = STACK_ELEMENTS.get(equal[0].device.type, STACK_ELEMENTS["cpu"])
        stack: list[Tensor] = []
        for p in equal:
            if stack and sum(q.numel() for q in stack) + p.numel() > limit:
                yield stack
                stack = []
            stack.append(p)
        yield stack


def gather(tensors: Sequence[Tensor]) -> Tensor:
    """Matrices of tensors (..., rows, columns) as one (number, rows, columns); vectors as (number, elements)."""
    return torch.cat([t.reshape(-1, *t.shape[-2:]) if t.ndim > 2 else t[None] for t in tensors])


def scatter_(stack: Tensor, tensors: Sequence[Tensor]) -> None:
    """Write a stack back into the tensors that it was gathered from."""
    torch._foreach_copy_(list(tensors), pieces(stack, tensors))


def pieces(stack: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Views of a stack, one a tensor that it was gathered from, in that tensor's shape."""
    numbers = [math.prod(t.shape[:-2]) for t in tensors]
    return [piece.view(t.shape) for piece, t in zip(stack.split(numbers), tensors, strict=True)]

"""Training and evaluation mode, of a model's modules and of an optimizer that knows the difference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError

SWITCHES = ("train", "eval")
"""Methods of an optimizer that trains other weights than it evaluates (schedule-free, 2405.15682)."""


def missing_switch(optimizer: torch.optim.Optimizer) -> str:
    """What is wrong where an optimizer has one switch without the other; empty otherwise."""
    there = [name for name in SWITCHES if callable(getattr(optimizer, name, None))]
    if len(there) != 1:
        return ""
    (other,) = set(SWITCHES) - set(there)
    return f"{type(optimizer).__name__} has {there[0]}() but no {other}(); give it both switches or none"


def set_training(optimizer: torch.optim.Optimizer) -> None:
    """Switch an optimizer to training, where it has switches. HarnessError if it has but one."""
    if problem := missing_switch(optimizer):
        raise HarnessError(f"optimizer: {problem}")
    if hasattr(optimizer, "train"):
        optimizer.train()


@contextmanager
def evaluating(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Iterator[None]:
    """Evaluation mode inside; afterwards modes and weights are what they were, to the bit.

    Without the optimizer the weights are those that are trained. With it, one that has switches puts those to be
    evaluated in their place; as taking them out again rounds, the trained ones are kept aside meanwhile.
    """
    modes = [(module, module.training) for module in model.modules()]
    switched: Any = optimizer if hasattr(optimizer, "eval") else None
    parameters = list(model.parameters()) if switched else []
    trained = [p.detach().clone() for p in parameters]
    model.eval()
    if switched:
        switched.eval()
    try:
        yield
    finally:
        if switched:
            switched.train()
            with torch.no_grad():
                for p, weights in zip(parameters, trained, strict=True):
                    p.copy_(weights)
        for module, training in modes:
            module.training = training

"""Newton-Schulz sets against torch.optim.Muon's: the step of one matrix, with its momentum and its update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import torch
from torch import nn

from harness.benchmarks.interleaved import Case, Form, product
from harness.methods.construct import build
from harness.methods.optimizer import ParameterGroup
from harness.registry import method_class

SHAPES = {"cpu": ((256, 256), (256, 1024)), "cuda": ((1024, 1024), (2048, 8192))}
"""Device kind -> rows, columns."""
SLOW = ("exact", "keller_then_exact")
"""Sets that end in a singular value decomposition: oracles, not for training."""
PARTS = ("all",)


def cases(part: str, device: str) -> Iterator[Case]:
    """Every shape."""
    hints = get_type_hints(method_class("optimizer", "muon"))
    sets = [s for s in get_args(hints["coefficients"]) if s not in SLOW]
    for shape in SHAPES[torch.device(device).type]:
        forms = {"torch": _torch(shape, device)}
        for coefficients in sets:
            forms[coefficients] = _muon(shape, device, coefficients=coefficients)
        forms["keller float32"] = _muon(shape, device, coefficients="keller", precision="float32")
        yield Case(
            name=f"{shape[0]} x {shape[1]}", reference="torch", forms=forms, ceiling="product",
            best=product(min(shape), device, torch.bfloat16),
        )  # fmt: skip


def _matrix(shape: tuple[int, int], device: str) -> nn.Parameter:
    generator = torch.Generator().manual_seed(0)
    p = nn.Parameter((torch.randn(shape, generator=generator) * 0.02).to(device))
    p.grad = torch.randn(shape, generator=generator).to(device)
    return p


def _bytes(shape: tuple[int, int]) -> float:
    """Weight and momentum read and written, the gradient read."""
    return 5 * 4 * shape[0] * shape[1]


def _torch(shape: tuple[int, int], device: str) -> Form:
    optimizer = torch.optim.Muon([_matrix(shape, device)], lr=0.01, adjust_lr_fn="match_rms_adamw")
    flops = build("optimizer", {"name": "torch_muon", "lr": 0.01}).flops_per_step([("hidden", shape)])
    return Form(work=optimizer.step, bytes=_bytes(shape), flops=flops)


def _muon(shape: tuple[int, int], device: str, **fields: Any) -> Form:
    method = build("optimizer", {"name": "muon", "lr": 0.01, **fields})
    group = ParameterGroup(
        role="hidden", names=["weight"], parameters=[_matrix(shape, device)], fan_in=shape[1], fan_out=shape[0]
    )  # fmt: skip
    flops = method.flops_per_step([("hidden", shape)])
    return Form(work=method.build([group]).step, bytes=_bytes(shape), flops=flops)

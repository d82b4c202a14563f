"""A step over a transformer's hidden matrices, against torch's fused AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from harness.benchmarks.interleaved import Case, Form, copy
from harness.methods.construct import build
from harness.methods.optimizer import ParameterGroup

SIZES = {"cpu": ((64, 4), (256, 2)), "cuda": ((768, 12), (2048, 8))}
"""Device kind -> width, layers."""
OPTIMIZERS = ("adamw", "sgd", "normalized_adam", "muon", "torch_muon")
REFERENCE = "torch AdamW, fused"
ADAM_FLOPS, ADAM_MOVES, SGD_MOVES = 14, 7, 5
"""Operations of a number's Adam step; numbers read and written: weight, gradient and one moment or two."""
PARTS = ("all",)


def cases(part: str, device: str) -> Iterator[Case]:
    """Every size."""
    for width, layers in SIZES[torch.device(device).type]:
        shapes = layer_shapes(width) * layers
        numbers = sum(math.prod(s) for s in shapes)
        fused = torch.optim.AdamW([p for g in groups(width, layers, device) for p in g.parameters], fused=True)
        forms = {REFERENCE: Form(work=fused.step, bytes=4 * ADAM_MOVES * numbers, flops=ADAM_FLOPS * numbers)}
        for name in OPTIMIZERS:
            method = build("optimizer", {"name": name, "lr": 0.01})
            moves = ADAM_MOVES if method.family("hidden") == "adam" else SGD_MOVES
            forms[name] = Form(
                work=method.build(groups(width, layers, device)).step, bytes=4 * moves * numbers,
                flops=method.flops_per_step([("hidden", s) for s in shapes]),
            )  # fmt: skip
        yield Case(
            name=f"width {width}, {layers} layers", reference=REFERENCE, forms=forms, ceiling="copy",
            best=copy(numbers, device),
        )  # fmt: skip


def layer_shapes(width: int) -> list[tuple[int, ...]]:
    """A fused projection, attention's output, and the two matrices of a feed-forward network."""
    return [(3, width, width), (width, width), (4 * width, width), (width, 4 * width)]


def groups(width: int, layers: int, device: str = "cpu") -> list[ParameterGroup]:
    """One group a shape, with gradients."""
    generator = torch.Generator().manual_seed(0)
    out = []
    for shape in layer_shapes(width):
        parameters = []
        for _ in range(layers):
            p = nn.Parameter((torch.randn(shape, generator=generator) * 0.02).to(device))
            p.grad = torch.randn(shape, generator=generator).to(device)
            parameters.append(p)
        names = [f"layer{i}" for i in range(layers)]
        out.append(ParameterGroup(
            role="hidden", names=names, parameters=parameters, fan_in=shape[-1], fan_out=shape[-2],
        ))  # fmt: skip
    return out

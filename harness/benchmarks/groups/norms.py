"""Normalisations and what stands in their place, against torch's LayerNorm: eager, and compiled.

A compiled operator has a process of its own: beyond some eight compilations of one function dynamo falls back to
eager code in silence. Here that is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from harness.benchmarks.interleaved import Case, Form, Moving, copy
from harness.methods.construct import build

SHAPES = {"cpu": ((1024, 64), (2048, 512), (2048, 2048)), "cuda": ((8192, 768), (16384, 2048), (16384, 4096))}
"""Device kind -> tokens, width."""
PASSES = {"forward": 2, "forward and backward": 5}
"""Pass -> numbers moved for each of the input: x and y; and for the gradient x again, dy and dx."""
OPERATIONS = {
    "torch_layernorm": (7, 20), "torch_rmsnorm": (4, 13), "rmsnorm": (4, 13), "dyt": (3, 12), "derf": (4, 15),
    "dyisru": (6, 15),
}  # fmt: skip
"""Form -> operations a number, forward, and forward and backward (gradients of x, gain, bias, alpha and shift)."""
REFERENCE = "torch_layernorm"
PARTS = ("eager", *(f"compiled {name}" for name in OPERATIONS))
"""What shares a process."""


def cases(part: str, device: str) -> Iterator[Case]:
    """Every shape and pass of a part."""
    compiled = part.removeprefix("compiled ") if part != "eager" else ""
    names = [compiled] if compiled else [n for n in OPERATIONS if n != REFERENCE]
    for tokens, width in SHAPES[torch.device(device).type]:
        for direction in PASSES:
            forms = {REFERENCE: form(REFERENCE, tokens, width, direction, device)}
            for name in names:
                key = f"{name} compiled" if compiled else name
                forms[key] = form(name, tokens, width, direction, device, compiled=bool(compiled))
            yield Case(
                name=f"{part}: {tokens} x {width}, {direction}", reference=REFERENCE, forms=forms, ceiling="copy",
                best=copy(tokens * width, device),
            )  # fmt: skip


def form(name: str, tokens: int, width: int, direction: str, device: str, *, compiled: bool = False) -> Form:
    """One norm on float32 inputs of (tokens, width)."""
    module = _module(name, width).to(device)
    run: Callable[[torch.Tensor], torch.Tensor] = _compiled(module) if compiled else module
    generator = torch.Generator().manual_seed(0)
    x, g = (torch.randn(tokens, width, generator=generator).to(device) for _ in range(2))
    inputs = Moving(x.requires_grad_(direction != "forward"), g)
    parameters = list(module.parameters())

    @torch.no_grad()
    def forward() -> object:
        return run(inputs.tensors[0])

    def both() -> object:
        # Not .backward(): adding to the gradients of the call before would be more traffic.
        x, g = inputs.tensors
        return torch.autograd.grad(run(x), [x, *parameters], g)

    backwards = direction != "forward"
    numbers = tokens * width
    return Form(
        work=both if backwards else forward, bytes=4 * numbers * PASSES[direction],
        flops=numbers * OPERATIONS[name][backwards], move=inputs.move,
    )  # fmt: skip


def _module(name: str, width: int) -> nn.Module:
    if name == "torch_layernorm":
        return nn.LayerNorm(width)
    if name == "torch_rmsnorm":
        return nn.RMSNorm(width, eps=1e-6)
    return build("norm", {"name": name}).build(width, "feed_forward")


def _compiled(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    import torch._dynamo

    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return torch.compile(module, dynamic=False, fullgraph=True)

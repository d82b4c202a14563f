"""Is DyT faster than RMSNorm? Both eager and both compiled, in turn, so that each is held to its fastest."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from harness.benchmarks.groups.norms import PASSES, SHAPES, form
from harness.benchmarks.interleaved import Case, copy

REFERENCE = "rmsnorm"
FORMS = ("rmsnorm", "torch_rmsnorm", "dyt", "rmsnorm compiled", "dyt compiled")
PARTS = ("all",)


def cases(part: str, device: str) -> Iterator[Case]:
    """Every shape and pass."""
    for tokens, width in SHAPES[torch.device(device).type]:
        for direction in PASSES:
            forms = {}
            for key in FORMS:
                name, _, compiled = key.partition(" ")
                forms[key] = form(name, tokens, width, direction, device, compiled=bool(compiled))
            yield Case(
                name=f"{tokens} x {width}, {direction}", reference=REFERENCE, forms=forms, ceiling="copy",
                best=copy(tokens * width, device),
            )  # fmt: skip

"""Contract of the kind ``norm``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import nn

from harness.methods.norm import Norm

PROTOCOL = Norm


WIDTHS = (16, 24)


def check(method: Any) -> Iterator[str]:
    """Breaches of the norm's contract."""
    for site, width in product(("attention", "feed_forward", "final"), WIDTHS):
        place = f"build({width}, {site!r})"
        x = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(0), requires_grad=True)
        module, again = _built(method, width, site), _built(method, width, site)
        if not all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True)):
            yield f"{place} starts elsewhere at the same seed; draw from torch's generator alone"
        y = module(x)
        if y.shape != x.shape:
            yield f"{place} turns {tuple(x.shape)} into {tuple(y.shape)}; the shape must stay"
        elif not torch.isfinite(y).all():
            yield f"{place} is not finite on unit normals"
        else:
            (gradient,) = torch.autograd.grad(y.square().sum(), x, allow_unused=True)
            if gradient is None or not torch.isfinite(gradient).all():
                yield f"{place} has no finite gradient"
    scale = method.embedding_scale(WIDTHS[0])
    if scale is not None and not scale > 0:
        yield f"embedding_scale({WIDTHS[0]}) is {scale}, expected None or a positive number"


def _built(method: Any, width: int, site: str) -> nn.Module:
    """A fresh module, with torch's generator at one seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module: nn.Module = method.build(width, site)
    return module

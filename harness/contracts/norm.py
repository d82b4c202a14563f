"""Contract of the kind ``norm``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from harness.methods.norm import Norm

PROTOCOL = Norm


def check(method: Any) -> Iterator[str]:
    """Breaches of the norm's contract."""
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for site in ("attention", "feed_forward", "final"):
        y = method.build(16, site)(x)
        if y.shape != x.shape:
            yield f"build(16, {site!r}) turns {tuple(x.shape)} into {tuple(y.shape)}; the shape must stay"
        elif not torch.isfinite(y).all():
            yield f"build(16, {site!r}) is not finite on unit normals"
        else:
            (gradient,) = torch.autograd.grad(y.square().sum(), x, allow_unused=True)
            if gradient is None or not torch.isfinite(gradient).all():
                yield f"build(16, {site!r}) has no finite gradient"
    scale = method.embedding_scale(16)
    if scale is not None and not scale > 0:
        yield f"embedding_scale(16) is {scale}, expected None or a positive number"

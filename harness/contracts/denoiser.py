"""Contract of the kind ``denoiser``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from harness.methods.denoiser import Denoiser

PROTOCOL = Denoiser
DIGEST_BYTES = 8
CLEAR, LOST = 1 - 1e-6, 1e-6
"""Shares of the signal's variance at which there is nothing to denoise, and nothing to see."""
CLOSE = 0.1
"""Root mean square within which a clear image must come back."""


def check(method: Any) -> Iterator[str]:
    """Breaches of the denoiser's contract."""
    if not isinstance(method.multiple, int) or method.multiple < 1:
        yield f"multiple is {method.multiple!r}; expected a whole number from 1 on"
        return
    if not isinstance(method.digest, bytes) or len(method.digest) != DIGEST_BYTES:
        yield f"digest is {method.digest!r}; expected {DIGEST_BYTES} bytes"
    side = method.multiple * -(-8 // method.multiple)
    x = torch.randn(2, 3, side, 2 * side, generator=torch.Generator().manual_seed(0))
    kept, generator = x.clone(), torch.get_rng_state()
    for alpha_bar in (CLEAR, 0.5, LOST):
        y = method.predict(x, alpha_bar)
        if y.shape != x.shape or y.dtype != torch.float32:
            yield f"predict at {alpha_bar:g} gives {y.dtype} {tuple(y.shape)}; expected float32 {tuple(x.shape)}"
            return
        if not torch.isfinite(y).all():
            yield f"predict at {alpha_bar:g} is not finite on unit normals"
        if not torch.equal(y, method.predict(x, alpha_bar)):
            yield f"predict at {alpha_bar:g} gives another answer the second time"
        if not torch.allclose(y[:1], method.predict(x[:1], alpha_bar), atol=1e-4):
            yield f"predict at {alpha_bar:g}: an image's answer hangs on the others of its batch"
    if not torch.equal(x, kept):
        yield "predict changes the image that it was given"
    if not torch.equal(generator, torch.get_rng_state()):
        yield "predict draws random numbers"
    smooth = (x * 0).add(torch.linspace(-0.5, 0.5, side)[:, None])
    off = float((method.predict(smooth, CLEAR) - smooth).square().mean().sqrt())
    if off > CLOSE:
        yield f"predict of an image without noise is {off:.2g} off; expected the image, within {CLOSE}"

"""Codebook selection: encoding a small picture, against the published loop, which draws each step's codewords.

The denoiser is the exact one of a Gaussian field, two Fourier transforms a step, so that selection is what costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from harness.benchmarks.interleaved import Case, Form, product
from harness.methods.construct import build

SIDE, STEPS, CODEWORDS = 64, 10, 256
"""Of the picture, of the sampler, of a step."""
CODECS = {
    "ddcm": {"codewords": CODEWORDS, "steps": STEPS},
    "matching_pursuit": {"codewords": CODEWORDS, "steps": STEPS},
    "turbo": {"codewords": 16384, "steps": STEPS},
}
"""Codec -> its fields; turbo's own number of codewords is far beyond what can be drawn."""
REFERENCE = "published loop"
BETAS = (1e-4, 0.02, 1000)
"""First, last and number of the linear schedule (2006.11239)."""
PARTS = ("all",)


def cases(part: str, device: str) -> Iterator[Case]:
    """One picture; on a CPU, as codecs do."""
    picture = image()
    denoiser = build("denoiser", {"name": "gaussian"})
    forms = {REFERENCE: form(published_loop(picture, denoiser), CODEWORDS)}
    for name, fields in CODECS.items():
        encode = build("codec", {"name": name, **fields}).encode
        forms[name] = form(partial(encode, picture, denoiser), fields["codewords"])
    yield Case(
        name=f"{SIDE} x {SIDE}, {STEPS} steps", reference=REFERENCE, forms=forms, ceiling="product",
        best=product(256, "cpu"),
    )  # fmt: skip


def form(work: Callable[[], object], codewords: int) -> Form:
    """With the cost of the definition, every inner product taken: a fast transform needs less than it."""
    numbers = 3 * SIDE**2
    return Form(work=work, bytes=4 * STEPS * numbers, flops=2 * STEPS * codewords * numbers)


def image() -> np.ndarray:
    """Waves of three colours."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    waves = [127 + 100 * np.sin(rows / (9 + k)) * np.cos(columns / (11 - k)) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def published_loop(picture: np.ndarray, denoiser: object) -> Callable[[], None]:
    """Every step draws its K codewords and takes the best (2502.01189, algorithm 1)."""
    predict = denoiser.predict  # type: ignore[attr-defined]
    target = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1)[None]
    first, last, times = BETAS
    kept = torch.cumprod(1 - torch.linspace(first, last, times, dtype=torch.float64), 0)
    bars = kept[torch.linspace(times - 1, 0, STEPS).long()].tolist()

    @torch.inference_mode()
    def work() -> None:
        x = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
        for number, (bar, after) in enumerate(zip(bars, [*bars[1:], 1.0], strict=True)):
            x0_hat = predict(x, bar)
            words = torch.randn(CODEWORDS, *target.shape[1:], generator=torch.Generator().manual_seed(number))
            scores = (words * (target - x0_hat)).sum(dim=(1, 2, 3))
            alpha = bar / after
            mean = (after**0.5 * (1 - alpha) * x0_hat + alpha**0.5 * (1 - after) * x) / (1 - bar)
            x = mean + ((1 - after) / (1 - bar) * (1 - alpha)) ** 0.5 * words[scores.argmax()]

    return work

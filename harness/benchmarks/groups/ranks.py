"""Spectra and functionals of rank against the float64 singular value decomposition and a plain formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from inspect import signature

import torch
from torch import Tensor

from harness.benchmarks.interleaved import Case, Form, product
from harness.methods.construct import build
from harness.metrics import spectra
from harness.registry import entries

SIDES = {"cpu": (128, 512), "cuda": (512, 2048)}
"""Device kind -> sides of the square matrix."""
LANCZOS_STEPS = signature(spectra.stable_rank).parameters["steps"].default
VALUES = 32768
"""Singular values that the functionals are given: with few, the time of a call is what varies from run to run."""
FLOPS_ALONE: dict[str, Callable[[int], float]] = {
    "participation_ratio": lambda n: 2 * n**3,
    "stable_rank": lambda n: LANCZOS_STEPS * 4 * n**2,
}
"""Functional without a spectrum -> FLOPs on an n x n matrix: a Gram product; two products with a vector a step."""
PARTS = ("all",)


def cases(part: str, device: str) -> Iterator[Case]:
    """Spectra at every side, then every functional of a spectrum."""
    for side in SIDES[torch.device(device).type]:
        W = torch.randn(side, side, generator=torch.Generator().manual_seed(side)).to(device)
        works: dict[str, Callable[[], object]] = {
            "svd": lambda W=W: torch.linalg.svdvals(W.double()),  # type: ignore[misc]
            "gram": partial(spectra.singular_values, W, "gram"),
            **{f"{name} alone": partial(fast, W) for name, fast in spectra.FAST.items()},
        }
        # Of a spectrum: the reduction to two diagonals (Golub and Van Loan, section 5.4).
        flops = dict.fromkeys(works, 8 / 3 * side**3) | {f"{n} alone": f(side) for n, f in FLOPS_ALONE.items()}
        yield Case(
            name=f"spectrum, {side} x {side}", reference="svd", ceiling="product",
            forms={name: Form(work=work, bytes=4 * side**2, flops=flops[name]) for name, work in works.items()},
            best=product(side, device, torch.float64),
        )  # fmt: skip
    s = torch.rand(VALUES, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).sort(descending=True)[0]
    s = s.to(device)
    forms = {"plain entropy": Form(work=lambda: plain_entropy(s), bytes=8 * VALUES, flops=5 * VALUES)}
    for entry in entries("rank"):
        if entry.origin != "baseline":  # the reference knows those that ship
            continue
        rank = build("rank", {"name": entry.name})
        forms[entry.name] = Form(work=partial(rank, s, (VALUES, VALUES)), bytes=8 * VALUES, flops=5 * VALUES)
    yield Case(
        name=f"functionals of {VALUES} values", reference="plain entropy", forms=forms, ceiling="product",
        best=product(128, device, torch.float64),
    )  # fmt: skip


def plain_entropy(s: Tensor) -> Tensor:
    """exp of the entropy of s / sum(s), without a check."""
    p = s / s.sum()
    return torch.exp(-(p * p.log()).sum())

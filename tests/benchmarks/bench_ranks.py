"""Each rank functional and each path to a spectrum: time, and error against the float64 SVD.

    pytest tests/benchmarks/bench_ranks.py --benchmark-enable -o python_files='bench_*.py'

Sizes 128 to 2048 (RANK_SIZES="128,256" for fewer). The column error is in ``extra_info``: with
``--benchmark-json=FILE``, or in the lines printed at the end with ``-s``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from torch import Tensor

from harness.methods.construct import build
from harness.metrics import spectra
from harness.registry import entries

SIZES = [int(n) for n in os.environ.get("RANK_SIZES", "128,256,512,1024,2048").split(",")]
KINDS = ("gaussian", "decaying", "low_rank")
LINES: list[str] = []


@cache
def matrix(kind: str, n: int) -> Tensor:
    """A float32 matrix: no gap, singular values 1/i, or rank n/8."""
    generator = torch.Generator().manual_seed(n)
    W = torch.randn(n, n, generator=generator)
    if kind == "gaussian":
        return W
    if kind == "low_rank":
        return W[:, : n // 8] @ torch.randn(n // 8, n, generator=generator)
    left, right = torch.linalg.qr(W.double())[0], torch.linalg.qr(W.double().T)[0]
    return (left / torch.arange(1, n + 1) @ right).float()


@cache
def reference(kind: str, n: int) -> Tensor:
    return torch.linalg.svdvals(matrix(kind, n).double())


def float32_svd(W: Tensor) -> Tensor:
    return torch.linalg.svdvals(W).double()


def float32_gram(W: Tensor) -> Tensor:
    """The shortcut that is not offered, to show its error."""
    return torch.linalg.eigvalsh(W @ W.T).clamp_min(0).sqrt().flip(-1).double()


PATHS: dict[str, Callable[[Tensor], Tensor]] = {
    "svd float64": lambda W: spectra.singular_values(W, "svd"),
    "gram float64": lambda W: spectra.singular_values(W, "gram"),
    "svd float32": float32_svd,
    "gram float32": float32_gram,
}
RANKS = {e.name: build("rank", {"name": e.name}) for e in entries("rank")}


@pytest.fixture(autouse=True, scope="module")
def report() -> Iterator[None]:
    yield
    print("\n" + "\n".join(LINES))


def note(benchmark, path: str, kind: str, n: int, errors: dict[str, float]) -> None:
    benchmark.extra_info.update(path=path, matrix=kind, size=n, relative_error=errors)
    seconds = f"{benchmark.stats['median'] * 1e3:9.2f} ms" if benchmark.stats else ""
    worst = "  ".join(f"{k} {v:.1e}" for k, v in errors.items())
    LINES.append(f"{path:14} {kind:9} {n:5} {seconds}  {worst}")


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS)
def test_whole_spectrum(benchmark, path, kind, n):
    W, exact = matrix(kind, n), reference(kind, n)
    s = benchmark.pedantic(PATHS[path], (W,), rounds=3 if n <= 512 else 1, warmup_rounds=int(n <= 512))
    errors = {}
    for name, rank in RANKS.items():
        want, got = float(rank(exact, (n, n))), float(rank(s, (n, n)))
        errors[name] = abs(got - want) / want
    note(benchmark, path, kind, n, errors)
    if path.endswith("64"):
        assert max(errors.values()) < 1e-6


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", spectra.FAST)
def test_without_spectrum(benchmark, name, kind, n):
    W = matrix(kind, n)
    value = float(benchmark.pedantic(spectra.FAST[name], (W,), rounds=3, warmup_rounds=1))
    want = float(RANKS[name](reference(kind, n), (n, n)))
    note(benchmark, f"fast {name}", kind, n, {name: abs(value - want) / want})
    assert value == pytest.approx(want, rel=1e-2)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", RANKS)
def test_functional_given_the_spectrum(benchmark, name, n):
    s = reference("gaussian", n)
    benchmark.pedantic(RANKS[name], (s, (n, n)), rounds=20, warmup_rounds=2)

"""Muon's step against torch.optim.Muon's on the same hidden matrices, interleaved in one run, on a CPU.

A layer is what our transformer has: a fused (3, d, d) projection, one d x d, one (4d, d) and one (d, 4d)
matrix; torch.optim.Muon gets the same as single matrices. Run with

    pytest tests/benchmarks/bench_optimizers.py --benchmark-enable -o python_files='bench_*.py' -s
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from baselines.optimizers.adamw import AdamW
from baselines.optimizers.muon import Muon
from harness.benchmarks.groups.optimizer_steps import groups

TARGETS = {(64, 4): 0.4, (128, 12): 0.8, (256, 8): 1.05, (512, 4): 1.05}
"""(width, layers) -> largest share of torch.optim.Muon's time."""


def torch_muon(width: int, layers: int) -> torch.optim.Optimizer:
    matrices = []
    for group in groups(width, layers):
        for p in group.parameters:
            assert p.grad is not None
            rows, columns = p.shape[-2:]
            for value, gradient in zip(
                p.detach().view(-1, rows, columns), p.grad.view(-1, rows, columns), strict=True
            ):
                matrix = nn.Parameter(value.clone())
                matrix.grad = gradient.clone()
                matrices.append(matrix)
    return torch.optim.Muon(matrices, lr=0.01, adjust_lr_fn="match_rms_adamw")


def interleaved(
    steps: dict[str, Callable[[], object]], clock: Callable[[], float] = time.perf_counter, budget: float = 8.0
) -> dict[str, list[float]]:
    """Seconds of each step, round by round (7 to 31 rounds, as ``budget`` seconds allow); the order turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
        step()
    order = list(steps)
    end = time.perf_counter() + budget
    for done in range(31):
        if done >= 7 and time.perf_counter() > end:
            break
        for name in order:
            start = clock()
            steps[name]()
            seconds[name].append(clock() - start)
        order = order[1:] + order[:1]
    return seconds


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("width", "layers"), TARGETS)
def test_muon_step(benchmark, width: int, layers: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    # On one thread the thread's own CPU time is immune to other processes taking the core.
    clock = time.thread_time if threads == 1 else time.perf_counter
    try:
        steps = {
            "muon": Muon(lr=0.01).build(groups(width, layers)).step,
            "torch": torch_muon(width, layers).step,
            "adamw": AdamW(lr=0.01).build(groups(width, layers)).step,
        }
        seconds = interleaved(steps, clock)
        median = {name: statistics.median(values) for name, values in seconds.items()}
        ratio = statistics.median(a / b for a, b in zip(seconds["muon"], seconds["torch"], strict=True))
        benchmark.extra_info.update(
            width=width, layers=layers, threads=threads, ratio=ratio, target=TARGETS[width, layers], **median
        )
        print(
            f"\nd {width}, {layers} layers, {threads} threads, {len(seconds['muon'])} rounds: ratio {ratio:.3f}"
            f" (at most {TARGETS[width, layers]});"
            f" Muon {1e3 * median['muon']:.2f} ms, torch.optim.Muon {1e3 * median['torch']:.2f} ms,"
            f" fused AdamW {1e3 * median['adamw']:.2f} ms"
        )
        benchmark.pedantic(steps["muon"], rounds=5)
        assert ratio <= TARGETS[width, layers]
    finally:
        torch.set_num_threads(before)

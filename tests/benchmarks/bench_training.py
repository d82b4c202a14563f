"""Training throughput against a plain GPT, interleaved step by step in one process.

Run: pytest tests/benchmarks/bench_training.py --benchmark-enable -o python_files='bench_*.py' -s
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.norms.rmsnorm import RMSNorm
from baselines.optimizers.adamw import AdamW
from baselines.parametrizations.standard import Standard
from harness.models.parameters import initialise, parameter_groups, places, scalings
from harness.models.transformer import Architecture, Transformer, next_token_loss
from harness.streams import Streams

SHAPES = {"d128": (128, 4, 256, 16), "d64": (64, 3, 128, 16)}
"""Name -> width, depth, context, batch."""
HEAD_WIDTH = 16
"""Of both models, so that attention is the same work."""
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))


class PlainBlock(nn.Module):
    """LayerNorm, GELU, fused attention: the textbook block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        q, k, v = (
            p.view(B, T, self.heads, D // self.heads).transpose(1, 2)
            for p in self.qkv(self.norm1(x)).split(D, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).contiguous().view(B, T, D))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class PlainGPT(nn.Module):
    """Learned positions, untied readout."""

    def __init__(self, vocab_size: int, width: int, depth: int, context: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab_size, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(PlainBlock(width) for _ in range(depth)))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, vocab_size, bias=False)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        logits = self.readout(self.norm(self.blocks(x)))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def batch(context: int, size: int) -> tuple[Tensor, Tensor]:
    tokens = torch.randint(256, (size, context + 1))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def plain_step(width: int, depth: int, context: int, size: int) -> Callable[[], None]:
    model = PlainGPT(256, width, depth, context)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    inputs, targets = batch(context, size)

    def step() -> None:
        model(inputs, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def our_step(
    width: int, depth: int, context: int, size: int, *, dtype: str = "float32", compiled: bool = False
) -> Callable[[], None]:
    a = Architecture(vocab_size=256, width=width, depth=depth, head_width=HEAD_WIDTH, context=context)
    model = Transformer(a, RMSNorm(), Standard())
    method = AdamW(lr=1e-3)
    scaling = scalings(model, places(model), (depth, depth), Standard(), method)
    initialise(model, scaling, Streams(0, "benchmark"))
    optimizer = method.build(parameter_groups(model, scaling))
    inputs, targets = batch(context, size)

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            return next_token_loss(model(inputs), targets)

    run = torch.compile(loss, dynamic=False) if compiled else loss

    def step() -> None:
        run().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def ratios(shape: str, arms: dict[str, Callable[[], None]], base: Callable[[], None]) -> dict[str, float]:
    """Speed over the base's: median over rounds of the ratio within a round of interleaved steps."""
    seconds: dict[str, list[float]] = {name: [] for name in ("base", *arms)}
    for function in (base, *arms.values()):
        for _ in range(3):
            function()
    for _ in range(ROUNDS):
        for name, function in (("base", base), *arms.items()):
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    paired = {
        name: statistics.median(b / a for b, a in zip(seconds["base"], seconds[name], strict=True))
        for name in arms
    }
    return {"base_ms": statistics.median(seconds["base"]) * 1e3, **paired}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_throughput(shape: str, threads: int, benchmark) -> None:
    """Prints our speed over the plain GPT's (eager fp32); BENCH_COMPILE=1 adds compiled arms."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    try:
        sizes = SHAPES[shape]
        arms = {
            "eager fp32": our_step(*sizes),
            "eager bf16": our_step(*sizes, dtype="bfloat16"),
        }
        if os.environ.get("BENCH_COMPILE"):
            arms["compiled fp32"] = our_step(*sizes, compiled=True)
            arms["compiled bf16"] = our_step(*sizes, dtype="bfloat16", compiled=True)
        result = ratios(shape, arms, plain_step(*sizes))
        benchmark.extra_info.update(result)
        benchmark.pedantic(arms["eager fp32"], rounds=3)
    finally:
        torch.set_num_threads(before)
    print(f"\n{shape}, {threads} threads: " + ", ".join(f"{k} {v:.2f}" for k, v in result.items()))

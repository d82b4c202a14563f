"""A mixture of experts against a dense network of equal active FLOPs, and against a loop over experts.

    pytest tests/benchmarks/bench_experts.py --benchmark-enable -o python_files='bench_*.py' -s

Forward and backward, float32, one thread; the forms take turns, and the ratios of the least times are printed, as
machines are noisy. Aims: 1.45 of dense at width 128 and 8,192 tokens, 2 at width 64, and no slower than the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from baselines.routers.loss_free import LossFree
from baselines.routers.quantile_threshold import QuantileThreshold
from harness.benchmarks.groups.experts import filled, loop_over_experts
from harness.models.blocks import BlockArchitecture, Relu2
from harness.models.experts import MixtureArchitecture, MixtureOfExperts

EXPERTS, ACTIVE, TURNS = 16, 2, 9
SHAPES = [(32, 64, 2048), (64, 128, 4096), (128, 256, 8192)]
"""Width, hidden channels of an expert, tokens."""
LINES: list[str] = []


@pytest.fixture(autouse=True, scope="module")
def report() -> Iterator[None]:
    torch.set_num_threads(1)
    yield
    print("\n" + "\n".join(LINES))


def routing_alone(layer: MixtureOfExperts) -> Callable[[Tensor], Tensor]:
    def forward(x_BTD: Tensor) -> Tensor:
        return layer.router.route(layer.scores(x_BTD), layer.state.values(), layer.mixture.active).gates_NE

    return forward


@pytest.mark.parametrize("router", [LossFree(), QuantileThreshold()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize(("width", "hidden", "tokens"), SHAPES)
def test_mixture_against_dense(benchmark, router, width, hidden, tokens):
    a = BlockArchitecture(width=width, depth=1, head_width=8)
    m = MixtureArchitecture(number=EXPERTS, width=hidden, active=float(ACTIVE))
    layer = filled(MixtureOfExperts(a, m, router))
    forms: dict[str, Callable[[Tensor], Tensor]] = {
        "mixture": layer, "dense": filled(Relu2(width, ACTIVE * hidden, False)), "loop": loop_over_experts(layer),
        "routing": routing_alone(layer),
    }  # fmt: skip
    x = torch.randn(tokens // 64, 64, width, generator=torch.Generator().manual_seed(1)).requires_grad_()
    least = dict.fromkeys(forms, float("inf"))

    def turn(form: Callable[[Tensor], Tensor]) -> float:
        began = time.perf_counter()
        form(x).sum().backward()
        layer.sums = {}
        return time.perf_counter() - began

    for _ in range(TURNS):
        for name, form in forms.items():
            least[name] = min(least[name], turn(form))
    ratios = {name: least["mixture"] / least[name] for name in ("dense", "loop")}
    share = least["routing"] / least["mixture"]
    benchmark.extra_info.update(ratios, routing_share=share)
    benchmark(lambda: turn(layer))
    LINES.append(
        f"{type(router).__name__:>18} width {width:>4}, {tokens:>5} tokens: {1e3 * least['mixture']:6.1f} ms, "
        f"{ratios['dense']:.2f} of dense, {ratios['loop']:.2f} of the loop, routing {100 * share:.0f} %"
    )

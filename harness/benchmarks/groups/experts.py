"""A mixture of experts against a loop over its experts, and the order of pairs against one by a sort.

Shapes: B sequences, T tokens, N = B T, D width, E experts, H width of an expert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from harness.benchmarks.interleaved import Case, Form, copy, product
from harness.methods.construct import build
from harness.models.blocks import BlockArchitecture, Relu2
from harness.models.experts import MixtureArchitecture, MixtureOfExperts, dispatch

M = TypeVar("M", bound=nn.Module)
EXPERTS, ACTIVE, LENGTH = 16, 2, 64
"""Experts, experts a token, tokens a sequence."""
SHAPES = {"cpu": ((32, 64, 2048), (128, 256, 2048)), "cuda": ((512, 1024, 16384),)}
"""Device kind -> D, H, N."""
TOKENS = {"cpu": 8192, "cuda": 65536}
"""Device kind -> N where pairs are only ordered."""
ROUTERS = ("loss_free", "quantile_threshold")
REFERENCE = "loop over experts"
PARTS = ("all",)


def cases(part: str, device: str) -> Iterator[Case]:
    """Layers forward and backward, then the order of pairs alone."""
    kind = torch.device(device).type
    for width, hidden, tokens in SHAPES[kind]:
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(tokens // LENGTH, LENGTH, width, generator=generator).to(device).requires_grad_()
        routed = {name: layer(width, hidden, name).to(device) for name in ROUTERS}
        dense = filled(Relu2(width, ACTIVE * hidden, False)).to(device)
        works: dict[str, Callable[[Tensor], Tensor]] = {
            REFERENCE: loop_over_experts(routed[ROUTERS[0]]), "dense": dense, **routed,
        }  # fmt: skip
        forms = {n: _both(n, f, x, width, hidden, tokens) for n, f in works.items()}
        yield Case(
            name=f"width {width}, {tokens} tokens, forward and backward", reference=REFERENCE, forms=forms,
            ceiling="product", best=product(512, device),
        )  # fmt: skip
    tokens = TOKENS[kind]
    scores_NE = torch.rand(tokens, EXPERTS, generator=torch.Generator().manual_seed(2))
    chosen_NE = (scores_NE >= scores_NE.topk(ACTIVE).values[:, -1:]).to(device)
    moved = tokens * EXPERTS + 2 * 8 * tokens * ACTIVE + 4 * EXPERTS
    yield Case(
        name=f"order of pairs, {tokens} tokens", reference="by a sort", ceiling="copy",
        forms={
            "by a sort": Form(work=lambda: by_sort(chosen_NE), bytes=moved, flops=0),
            "by counting": Form(work=lambda: dispatch(chosen_NE), bytes=moved, flops=0),
        },
        best=copy(moved // 8, device),
    )  # fmt: skip


def layer(width: int, hidden: int, router: str) -> MixtureOfExperts:
    """A mixture with weights at 1/sqrt(fan-in)."""
    a = BlockArchitecture(width=width, depth=1, head_width=8)
    m = MixtureArchitecture(number=EXPERTS, width=hidden, active=float(ACTIVE))
    return filled(MixtureOfExperts(a, m, build("router", {"name": router})))


def filled(module: M) -> M:
    """The module with every parameter drawn."""
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=generator) / p.shape[-1] ** 0.5
    return module


def loop_over_experts(layer: MixtureOfExperts) -> Callable[[Tensor], Tensor]:
    """What most public code does: gather, two products, index_add, expert by expert."""

    def forward(x_BTD: Tensor) -> Tensor:
        routing = layer.router.route(layer.scores(x_BTD), layer.state.values(), layer.mixture.active)
        x_ND = x_BTD.flatten(0, 1)
        out_ND = torch.zeros_like(x_ND)
        for e in range(layer.mixture.number):
            tokens = routing.chosen_NE[:, e].nonzero().flatten()
            hidden = (x_ND[tokens] @ layer.up.weight[e].t()).relu().square()
            y = (hidden @ layer.down.weight[e].t()) * routing.gates_NE[tokens, e][:, None]
            out_ND.index_add_(0, tokens, y)
        return out_ND.view(x_BTD.shape)

    return forward


def by_sort(chosen_NE: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens in the order of experts, and where each expert's end, by a stable sort."""
    token_P, expert_P = chosen_NE.nonzero(as_tuple=True)
    order_P = expert_P.argsort(stable=True)
    ends_E = expert_P.bincount(minlength=chosen_NE.shape[1]).cumsum(0).int()
    return token_P[order_P], ends_E


def _both(name: str, run: Callable[[Tensor], Tensor], x: Tensor, width: int, hidden: int, tokens: int) -> Form:
    inputs = [x, *(p for p in run.parameters() if p.requires_grad)] if isinstance(run, nn.Module) else [x]
    grown = torch.ones_like(x)

    def work() -> object:
        out = torch.autograd.grad(run(x), inputs, grown, allow_unused=True)
        if isinstance(run, MixtureOfExperts):
            run.sums = {}
        return out

    active = 2 * width * hidden * ACTIVE
    router = 0 if name == "dense" else width * EXPERTS
    weights = 2 * width * hidden * (ACTIVE if name == "dense" else EXPERTS) + router
    # Forward once, backward twice: for the input and for the weights.
    return Form(
        work=work, bytes=4 * (4 * tokens * width + 3 * weights), flops=6 * tokens * (active + router)
    )  # fmt: skip

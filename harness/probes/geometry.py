"""Geometry of a feed-forward layer as a sum of parts: which few of them give most of it (kexue.fm 10699).

A dense layer falls into blocks of its inner columns, y = sum of v_i; a mixture is the sum of its experts. Where the
parts are orthogonal, the k largest norms are the best k. Of a mixture it is told whether the router's scores follow
those norms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.models.blocks import Relu2, SwiGLU
from harness.models.experts import MixtureOfExperts
from harness.models.operations import relu2
from harness.outcome import Table, finite
from harness.probes import ProbedTask
from harness.probes._rows import RowsOfABatch
from harness.probes._settings import Settings, layer_of, parse

COLUMNS = ["step", "layer", "parts", "kept", "rule", "value"]
RULES = {
    "largest norms": "|y - y_S|^2 / |y|^2 for the parts of largest norm, mean over tokens",
    "random": "the same for parts drawn at random",
    "smallest norms": "the same for the parts of smallest norm",
    "best": "the same for the best parts of all subsets",
    "cosine": "mean cosine of two parts",
    "score and norm": "rank correlation, within a token, of the router's scores and the norms of the parts",
    "overlap": "share of the chosen experts that are among those of largest norm",
}
MOST_SUBSETS = 5000
"""Subsets beyond which the best one is not looked for."""


class GeometrySettings(Settings):
    """Settings of probe ``geometry``."""

    parts: int = Field(default=8, ge=2, le=64)
    """Blocks that a dense layer is cut into; a mixture has its experts."""
    kept: int = Field(default=2, ge=1, le=64)
    """Parts of a dense layer that are kept; a mixture keeps as many as it chooses."""
    size: int = Field(default=16, ge=1, le=4096)
    """Sequences in the fixed batch."""


class Geometry(RowsOfABatch):
    """Looks once, after the last update. Table: step (updates taken), layer, parts, kept, rule, value."""

    def __init__(self, settings: GeometrySettings) -> None:
        super().__init__(settings.size)
        self.settings = settings

    def wants(self, step: int) -> bool:
        return step == self.task.steps - 1

    def after_step(self, step: int) -> None:
        self.rows = []
        for name, (module, x_ND) in _inputs(self.model, self.task, self.inputs).items():
            self.rows += [[step + 1, layer_of(f"{name}."), *row] for row in self._of_layer(module, x_ND)]

    def _of_layer(self, module: nn.Module, x_ND: Tensor) -> list[list[Any]]:
        if isinstance(module, MixtureOfExperts):
            v_NPD, kept = experts(module, x_ND), max(1, round(module.mixture.active))
            found = {"cosine": cosine(gram(v_NPD)), **agreement(module, x_ND, v_NPD, kept)}
        else:
            v_NPD, kept = pieces(module, x_ND, self.settings.parts), self.settings.kept
            gram_NPP = gram(v_NPD)
            found = {**errors(gram_NPP, kept), "cosine": cosine(gram_NPP)}
        return [[v_NPD.shape[1], kept, rule, finite(value)] for rule, value in found.items()]

    def finish(self) -> Table:
        about = {"probe": "geometry", "statistics": RULES, "batch": self.settings.size, "dtype": "float32"}
        return Table(columns=COLUMNS, rows=self.rows, about=about)


def _inputs(model: nn.Module, task: ProbedTask, batch: Any) -> dict[str, tuple[nn.Module, Tensor]]:
    """Name -> (feed-forward module, its inputs, (N, D) float32), in one forward pass."""
    taken: dict[str, tuple[nn.Module, Tensor]] = {}
    handles = []
    for name, module in model.named_modules():
        if not isinstance(module, (Relu2, SwiGLU, MixtureOfExperts)) or name.endswith(".shared"):
            continue

        def take(found: nn.Module, args: tuple[Tensor, ...], _output: Any, name: str = name) -> None:
            taken[name] = (found, args[0].detach().flatten(0, -2).float())

        handles.append(module.register_forward_hook(take))
    try:
        task.forward(batch)
    finally:
        for handle in handles:
            handle.remove()
    return taken


@torch.no_grad()
def pieces(module: nn.Module, x_ND: Tensor, parts: int) -> Tensor:
    """Outputs of a dense layer's blocks of inner columns, (N, P, D); their sum is the layer's output."""
    if isinstance(module, SwiGLU):
        gate, up = (module.gate_up.weight[i].float() for i in range(2))
        scale = module.gate_up.multiplier
        hidden_NF = F.silu(scale * (x_ND @ gate.t())) * (scale * (x_ND @ up.t()))
    else:
        assert isinstance(module, Relu2)
        hidden_NF = relu2(module.up.multiplier * (x_ND @ module.up.weight.float().t()))
    down_DF, c = module.down.weight.float(), module.down.multiplier
    blocks = torch.tensor_split(torch.arange(hidden_NF.shape[1], device=x_ND.device), parts)
    return torch.stack([c * (hidden_NF[:, b] @ down_DF[:, b].t()) for b in blocks], 1)


@torch.no_grad()
def experts(module: MixtureOfExperts, x_ND: Tensor) -> Tensor:
    """Outputs of all experts for all tokens, before gates, (N, E, D)."""
    N, E = len(x_ND), module.mixture.number
    ends_E = torch.arange(1, E + 1, device=x_ND.device, dtype=torch.int32) * N
    y_PD = module.experts(x_ND.repeat(E, 1), ends_E)
    return y_PD.float().view(E, N, -1).transpose(0, 1)


def gram(v_NPD: Tensor) -> Tensor:
    """Inner products of each token's parts, (N, P, P) float64, of the tokens whose sum of parts is not zero."""
    v_NPD = v_NPD.double()
    gram_NPP = v_NPD @ v_NPD.transpose(1, 2)
    return gram_NPP[gram_NPP.sum((1, 2)) > 0]


def errors(gram_NPP: Tensor, kept: int) -> dict[str, float]:
    """Mean over tokens of |y - y_S|^2 / |y|^2 where S are ``kept`` parts chosen by each rule."""
    N, P, _ = gram_NPP.shape
    if not N:
        return {}
    kept = min(kept, P)
    total_N = gram_NPP.sum((1, 2))
    order_NP = gram_NPP.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    draw = torch.Generator().manual_seed(0)
    random_NP = torch.rand(N, P, generator=draw).argsort(1).to(gram_NPP.device)

    def error(dropped_NK: Tensor) -> float:
        mask_NP = torch.zeros_like(total_N[:, None].expand(N, P)).scatter(1, dropped_NK, 1.0)
        left_N = torch.einsum("np,npq,nq->n", mask_NP, gram_NPP, mask_NP)
        return (left_N / total_N).mean().item()

    out = {
        "largest norms": error(order_NP[:, kept:]),
        "random": error(random_NP[:, kept:]),
        "smallest norms": error(order_NP[:, : P - kept]),
    }
    if math.comb(P, kept) <= MOST_SUBSETS:
        dropped = [[float(p not in subset) for p in range(P)] for subset in itertools.combinations(range(P), kept)]
        mask_SP = torch.tensor(dropped, dtype=torch.float64, device=gram_NPP.device)
        left_NS = ((mask_SP @ gram_NPP) * mask_SP).sum(-1)
        out["best"] = (left_NS.min(1).values / total_N).mean().item()
    return out


def cosine(gram_NPP: Tensor) -> float:
    """Mean cosine of two parts; parts that are zero have none."""
    norm_NP = gram_NPP.diagonal(dim1=1, dim2=2).sqrt()
    both_NPP = norm_NP[:, :, None] * norm_NP[:, None, :]
    pair_NPP = (both_NPP > 0) & ~torch.eye(norm_NP.shape[1], dtype=torch.bool, device=gram_NPP.device)
    return (gram_NPP[pair_NPP] / both_NPP[pair_NPP]).mean().item() if bool(pair_NPP.any()) else math.nan


@torch.no_grad()
def agreement(module: MixtureOfExperts, x_ND: Tensor, v_NPD: Tensor, kept: int) -> dict[str, float]:
    """How the router's scores agree with the norms of what it chooses from."""
    score_NE, norm_NE = module.scores(x_ND).double(), v_NPD.double().norm(dim=-1)
    ranks = [x.argsort(dim=1, stable=True).argsort(dim=1, stable=True).double() for x in (score_NE, norm_NE)]
    a, b = (r - r.mean(1, keepdim=True) for r in ranks)
    correlation_N = (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()
    routing = module.router.route(module.scores(x_ND)[None], module.state.values(), module.mixture.active)
    largest_NE = torch.zeros_like(routing.chosen_NE)
    largest_NE.scatter_(1, norm_NE.topk(kept, 1).indices, True)
    chosen = int(routing.chosen_NE.sum())
    both = int((largest_NE & routing.chosen_NE).sum())
    return {"score and norm": correlation_N.mean().item(), "overlap": both / chosen if chosen else math.nan}


def build(settings: Mapping[str, Any]) -> Geometry:
    """The probe; HarnessError for settings that are wrong."""
    checked = parse(GeometrySettings, settings, "geometry")
    if checked.kept > checked.parts:
        raise HarnessError(
            f"probe 'geometry', setting 'kept': {checked.kept} of {checked.parts} parts; give 1 to {checked.parts}"
        )
    return Geometry(checked)

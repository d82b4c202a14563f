"""Layers as sums of parts: the split is the layer, rules are what they say, a mixture's agreement is exact."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.methods.construct import build as method
from harness.models.blocks import BlockArchitecture, Relu2, SwiGLU
from harness.models.experts import MixtureArchitecture, MixtureOfExperts
from harness.probes import build
from harness.probes.geometry import agreement, cosine, errors, experts, gram, pieces

N, D, P = 50, 8, 5


def initialised(module, seed=0):
    draw = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=draw) / p.shape[-1] ** 0.5
    return module


def inputs(seed=1):
    return torch.randn(N, D, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("form", [Relu2, SwiGLU])
@pytest.mark.parametrize("parts", [2, 5])
def test_the_parts_of_a_dense_layer_add_up_to_it(form, parts):
    module = initialised(form(D, 12, False))
    for linear in module.children():
        linear.multiplier = 1.5
    torch.testing.assert_close(pieces(module, inputs(), parts).sum(1), module(inputs()))


def parts_of(orthogonal=False):
    draw = torch.Generator().manual_seed(2)
    if not orthogonal:
        return torch.randn(N, P, D, generator=draw, dtype=torch.float64) + 0.5
    basis = torch.linalg.qr(torch.randn(N, D, D, generator=draw, dtype=torch.float64)).Q[:, :P]
    return basis * torch.rand(N, P, 1, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_errors_by_direct_sums(kept):
    v = parts_of()
    found, whole = errors(gram(v), kept), v.sum(1)

    def error(choose):
        return torch.stack([
            (whole[n] - v[n, list(choose(n))].sum(0)).square().sum() / whole[n].square().sum() for n in range(N)
        ]).mean().item()  # fmt: skip

    norms = v.norm(dim=-1)
    assert found["largest norms"] == pytest.approx(error(lambda n: norms[n].topk(kept).indices), rel=1e-9)
    assert found["smallest norms"] == pytest.approx(error(lambda n: (-norms[n]).topk(kept).indices), rel=1e-9)

    def best(n):
        subsets = itertools.combinations(range(P), kept)
        return min(subsets, key=lambda s: (whole[n] - v[n, list(s)].sum(0)).square().sum().item())

    assert found["best"] == pytest.approx(error(best), rel=1e-9)
    assert found["best"] <= min(found.values()) + 1e-12


def test_of_orthogonal_parts_the_largest_norms_are_the_best():
    found = errors(gram(parts_of(orthogonal=True)), 2)
    assert found["largest norms"] == pytest.approx(found["best"], rel=1e-9)
    assert found["largest norms"] < found["random"] < found["smallest norms"]
    assert cosine(gram(parts_of(orthogonal=True))) == pytest.approx(0.0, abs=1e-12)
    assert errors(gram(parts_of()), P)["random"] == 0.0, "all parts are the whole"


def test_equal_parts_have_cosine_one_and_zero_parts_none():
    v = torch.ones(N, P, D)
    v[:, 0] = 0
    assert cosine(gram(v)) == pytest.approx(1.0)
    assert errors(gram(torch.zeros(N, P, D)), 2) == {}


def mixture(router="top_k", active=2, number=4):
    a = BlockArchitecture(width=D, depth=1, head_width=D)
    m = MixtureArchitecture(number=number, width=8, active=active)
    return initialised(MixtureOfExperts(a, m, method("router", {"name": router})))


def test_experts_one_by_one_make_the_mixture():
    module = mixture().eval()
    v_NPD = experts(module, inputs())
    routing = module.router.route(module.scores(inputs())[None], module.state.values(), 2)
    gates_NE = torch.where(routing.chosen_NE, routing.gates_NE, 0.0)
    torch.testing.assert_close((gates_NE[:, :, None] * v_NPD).sum(1), module(inputs()[None])[0])


def test_scores_that_are_norms_agree_with_them_and_their_negatives_do_not():
    module, x = mixture(), inputs()
    v_NPD = experts(module, x)

    class Norms(nn.Module):
        def __init__(self, sign):
            super().__init__()
            self.sign = sign

        def forward(self, _):
            return self.sign * v_NPD.norm(dim=-1)

    module.scores = Norms(1.0)
    assert agreement(module, x, v_NPD, 2) == pytest.approx({"score and norm": 1.0, "overlap": 1.0})
    module.scores = Norms(-1.0)
    assert agreement(module, x, v_NPD, 2) == pytest.approx({"score and norm": -1.0, "overlap": 0.0})


def test_more_kept_than_there_are_parts_is_refused():
    with pytest.raises(HarnessError, match="'kept': 9 of 8 parts; give 1 to 8"):
        build("geometry", {"kept": 9})

"""The vision transformer against a plain one of torch's own layers, and what it must not depend on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.norms.layernorm import LayerNorm
from baselines.norms.rmsnorm import RMSNorm
from baselines.optimizers.adamw import AdamW
from baselines.parametrizations.mup import MuP
from baselines.parametrizations.standard import Standard
from harness.models.parameters import initialise, places, scalings
from harness.models.vision_transformer import VisionArchitecture, VisionTransformer, patches
from harness.streams import Streams

SMALL = VisionArchitecture(width=16, depth=2, head_width=4, num_classes=5, size=12, channels=3, patch=4)
EPS = torch.finfo(torch.float32).eps
ROUNDINGS = 100
"""Roundings between pictures and logits: some forty operations, one behind the other, each of a sum or two."""


def network(a: VisionArchitecture = SMALL, norm: Any = None, parametrization: Any = None, base: Any = None):
    """A model with all its weights drawn, gains included."""
    norm, parametrization, base = norm or RMSNorm(), parametrization or Standard(), base or a
    model = VisionTransformer(
        a, norm, parametrization, base_head_width=base.head_width, base_depth=base.depth
    )
    where = places(VisionTransformer(base, norm, parametrization))
    scaling = scalings(model, where, (a.depth, base.depth), parametrization, AdamW(lr=1e-3))
    initialise(model, scaling, Streams(0, f"width={a.width}"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1:
                p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return model


def pictures(a: VisionArchitecture = SMALL, count: int = 6) -> Tensor:
    return torch.randn(count, a.channels, a.size, a.size, generator=torch.Generator().manual_seed(2))


class Plain(nn.Module):
    """The same network of a convolution, torch's linear maps, norms and attention, in float64."""

    def __init__(self, ours: VisionTransformer, layernorm: bool, logit_scale: float, readout_scale: float) -> None:
        super().__init__()
        a = self.a = ours.architecture
        D = a.width
        self.layernorm, self.logit_scale, self.readout_scale = layernorm, logit_scale, readout_scale
        self.values = {n: p.detach().double() for n, p in ours.named_parameters()}
        self.cut = nn.Conv2d(a.channels, D, a.patch, a.patch, bias=False, dtype=torch.float64)
        kernel = self.values["embedding.weight"].T / math.sqrt(a.channels * a.patch**2)
        self.cut.weight = nn.Parameter(kernel.reshape(self.cut.weight.shape), requires_grad=False)

    def norm(self, x: Tensor, name: str) -> Tensor:
        gain = self.values[f"{name}.weight"]
        if self.layernorm:
            return F.layer_norm(x, x.shape[-1:], gain, self.values.get(f"{name}.bias"), 1e-6)
        return F.rms_norm(x, x.shape[-1:], gain, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        a, v = self.a, self.values
        x = self.cut(x.double()).flatten(2).mT + v["positions.weight"]
        for i in range(a.depth):
            y = self.norm(x, f"blocks.{i}.attention_norm")
            q, k, z = (
                F.linear(y, w).unflatten(-1, (-1, a.head_width)).transpose(1, 2)
                for w in v[f"blocks.{i}.attention.qkv.weight"]
            )
            if a.qk_norm:
                q, k = (u / (u.square().mean(-1, keepdim=True) + 1e-6).sqrt() for u in (q, k))
            z = F.scaled_dot_product_attention(q, k, z, scale=self.logit_scale).transpose(1, 2).flatten(2)
            x = x + F.linear(z, v[f"blocks.{i}.attention.out.weight"])
            y = self.norm(x, f"blocks.{i}.feed_forward_norm")
            if a.feed_forward == "swiglu":
                gate, up = (F.linear(y, w) for w in v[f"blocks.{i}.feed_forward.gate_up.weight"])
                hidden = F.silu(gate) * up
            else:
                hidden = F.relu(F.linear(y, v[f"blocks.{i}.feed_forward.up.weight"])) ** 2
            x = x + F.linear(hidden, v[f"blocks.{i}.feed_forward.down.weight"])
        return F.linear(self.norm(x, "final_norm"), v["readout.weight"]).mean(1) * self.readout_scale

    def sensitivity(self, x: Tensor) -> float:
        """Largest change of a logit when every weight and pixel moves by a rounding of float32."""
        before, kept = self(x), self.values
        generator = torch.Generator().manual_seed(3)

        def moved(t: Tensor) -> Tensor:
            return t.double() * (1 + EPS * (2 * torch.rand(t.shape, generator=generator) - 1))

        self.values = {n: moved(t) for n, t in kept.items()}
        change = (self(moved(x)) - before).abs().max().item()
        self.values = kept
        return change


@pytest.mark.parametrize("feed_forward", ["relu2", "swiglu"])
@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("layernorm", [True, False])
def test_logits_are_those_of_a_plain_vision_transformer(feed_forward: str, qk_norm: bool, layernorm: bool) -> None:
    a = replace(SMALL, feed_forward=feed_forward, feed_forward_width=24, qk_norm=qk_norm)
    model = network(a, LayerNorm() if layernorm else RMSNorm())
    plain = Plain(model, layernorm, a.head_width**-0.5, 1.0)
    x = pictures(a)
    allowed = ROUNDINGS * plain.sensitivity(x)
    assert allowed < 1e-3
    torch.testing.assert_close(model(x).double(), plain(x), rtol=0, atol=allowed)


def test_mup_divides_readout_and_attention_logits() -> None:
    """2203.03466, Table 8, at four times the base width and twice the base head."""
    a = replace(SMALL, width=32, head_width=8)
    model = network(a, parametrization=MuP(), base=replace(a, width=8, head_width=4))
    plain = Plain(model, False, math.sqrt(4) / 8, 1 / 4)
    x = pictures(a)
    torch.testing.assert_close(model(x).double(), plain(x), rtol=0, atol=ROUNDINGS * plain.sensitivity(x))


def test_patches_are_cut_line_by_line() -> None:
    x = torch.arange(2 * 2 * 4 * 4.0).view(2, 2, 4, 4)
    found = patches(x, 2)
    assert found.shape == (2, 4, 8)
    # Upper right patch of the first picture: rows 0 and 1, columns 2 and 3, of both channels.
    assert found[0, 1].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]
    # The last patch of the second: lower right.
    assert found[1, 3].tolist() == [42, 43, 46, 47, 58, 59, 62, 63]


def shuffled(x: Tensor, order: Tensor, patch: int) -> Tensor:
    """Pictures whose patches are moved about."""
    n = x.shape[-1] // patch
    grid = x.unflatten(3, (n, patch)).unflatten(2, (n, patch)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)[:, order]
    return grid.unflatten(1, (n, n)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def test_patches_moved_with_their_positions_give_the_same_logits() -> None:
    model, x = network(), pictures()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    before, allowed = model(x), ROUNDINGS * Plain(network(), False, 0.5, 1.0).sensitivity(x)
    moved = model(shuffled(x, order, 4))
    assert (moved - before).abs().max() > 1000 * allowed
    with torch.no_grad():
        model.positions.weight.copy_(model.positions.weight[order])
    torch.testing.assert_close(model(shuffled(x, order, 4)), before, rtol=0, atol=allowed)


def test_a_picture_has_the_same_logits_alone_and_among_others() -> None:
    model, x = network(), pictures()
    allowed = ROUNDINGS * Plain(model, False, 0.5, 1.0).sensitivity(x)
    together = model(x)
    for i in range(len(x)):
        torch.testing.assert_close(model(x[i : i + 1])[0], together[i], rtol=0, atol=allowed)
    x[1:] = 100.0
    torch.testing.assert_close(model(x)[0], together[0], rtol=0, atol=allowed)


def test_unit_pixels_become_unit_vectors_at_every_size_of_a_patch() -> None:
    for patch in (2, 4, 8):
        a = replace(SMALL, size=16, patch=patch, width=256, head_width=16)
        out = network(a).embedding(patches(pictures(a, 16), patch))
        # Its mean square is a mean of channels x 4 to 64 squares of weights a column: over 256 columns, 5 %.
        assert out.square().mean().sqrt().item() == pytest.approx(1.0, abs=0.05)


def test_zero_readout_starts_at_the_trivial_loss() -> None:
    model = network(replace(SMALL, zero_readout=True))
    loss = F.cross_entropy(model(pictures()), torch.arange(6) % 5)
    assert loss.item() == pytest.approx(math.log(5), rel=1e-6)


def test_norms_stand_at_the_language_models_sites() -> None:
    asked: list[tuple[int, str]] = []

    class Asked(RMSNorm):
        def build(self, width: int, site: str) -> nn.Module:  # type: ignore[override]
            asked.append((width, site))
            return super().build(width, site)

        def embedding_scale(self, width: int) -> float:
            return 3.0

    model = network(norm=Asked())
    assert asked[:5] == [(16, "attention"), (16, "feed_forward")] * 2 + [(16, "final")]
    # The scalar that a norm wants multiplies what enters the blocks: patches and positions.
    with torch.no_grad():
        scaled = model(pictures())
        model.embedding_scale.fill_(1.0)
        model.embedding.weight.mul_(3.0)
        model.positions.weight.mul_(3.0)
        torch.testing.assert_close(model(pictures()), scaled, rtol=1e-4, atol=1e-5)


def test_every_matrix_has_its_role() -> None:
    roles = {name: place.role for name, place in places(network()).items()}
    assert roles["embedding.weight"] == roles["positions.weight"] == "embedding"
    assert roles["readout.weight"] == "readout"
    assert roles["blocks.1.attention.qkv.weight"] == "hidden"
    place = places(network())["embedding.weight"]
    assert (place.fan_in, place.fan_out) == (3 * 4**2, 16)

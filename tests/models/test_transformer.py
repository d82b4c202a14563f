"""The transformer: what it may see, how it starts, how its parameters are grouped."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from baselines.norms.identity import Identity
from baselines.norms.layernorm import LayerNorm
from baselines.norms.rmsnorm import RMSNorm
from baselines.optimizers.adamw import AdamW
from baselines.optimizers.muon import Muon
from baselines.parametrizations.standard import Standard
from harness.errors import HarnessError
from harness.methods.parametrization import ParameterShape, Scaling
from harness.methods.roles import Family
from harness.models.parameters import initialise, parameter_groups, places, scalings
from harness.models.transformer import Architecture, Transformer, next_token_loss
from harness.streams import Streams

SMALL = Architecture(vocab_size=50, width=32, depth=2, head_width=8, context=16)


def network(a: Architecture = SMALL, optimizer: Any = None, norm: Any = None, seed: int = 0, **kw: Any):
    """(model, scaling), initialised."""
    optimizer = optimizer or AdamW(lr=1e-3)
    model = Transformer(a, norm or RMSNorm(), Standard(), **kw)
    scaling = scalings(model, places(model), (a.depth, a.depth), Standard(), optimizer)
    initialise(model, scaling, Streams(seed, f"width={a.width},depth={a.depth}"))
    return model, scaling


@pytest.mark.parametrize("feed_forward", ["relu2", "swiglu"])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_future_tokens_do_not_change_past_logits(feed_forward: str, qk_norm: bool) -> None:
    model, _ = network(replace(SMALL, feed_forward=feed_forward, qk_norm=qk_norm))
    torch.manual_seed(0)
    tokens = torch.randint(50, (2, 16))
    other = tokens.clone()
    other[:, 9:] = torch.randint(50, (2, 7))
    a, b = model(tokens), model(other)
    torch.testing.assert_close(a[:, :9], b[:, :9], rtol=0, atol=1e-6)
    assert not torch.allclose(a[:, 9:], b[:, 9:])


def test_positions_matter() -> None:
    model, _ = network()
    tokens = torch.arange(16)[None]
    assert not torch.allclose(model(tokens)[0, -1], model(tokens[:, [1, 0, *range(2, 16)]])[0, -1], atol=1e-5)


def test_a_shorter_sequence_gives_the_same_logits() -> None:
    model, _ = network()
    tokens = torch.randint(50, (2, 16))
    torch.testing.assert_close(model(tokens[:, :5]), model(tokens)[:, :5], rtol=1e-5, atol=1e-6)


def test_initial_weights_do_not_depend_on_the_optimizer() -> None:
    a, _ = network(optimizer=AdamW(lr=1e-3))
    b, _ = network(optimizer=Muon(lr=1e-2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    c, _ = network(seed=1)
    assert not torch.equal(a.readout.weight, c.readout.weight)


def test_initial_weights_agree_where_shapes_do() -> None:
    a, _ = network()
    b, _ = network(replace(SMALL, feed_forward="swiglu", feed_forward_width=64))
    assert torch.equal(a.blocks[0].attention.qkv.weight, b.blocks[0].attention.qkv.weight)
    assert torch.equal(a.readout.weight, b.readout.weight)


def test_initial_scales_are_the_parametrizations() -> None:
    model, scaling = network(replace(SMALL, width=128, vocab_size=512))
    assert model.blocks[0].attention.qkv.weight.std().item() == pytest.approx(128**-0.5, rel=0.02)
    assert model.blocks[1].feed_forward.down.weight.std().item() == pytest.approx(512**-0.5, rel=0.02)
    assert model.embedding.weight.std().item() == pytest.approx(1.0, rel=0.02)
    assert scaling["blocks.0.attention_norm.weight"].init_std == 0
    assert torch.equal(model.blocks[0].attention_norm.weight, torch.ones(128))


def test_zero_readout_starts_at_the_trivial_loss() -> None:
    model, _ = network(replace(SMALL, zero_readout=True))
    tokens = torch.randint(50, (3, 17))
    assert next_token_loss(model(tokens[:, :-1]), tokens[:, 1:]).item() == pytest.approx(math.log(50), rel=1e-6)


def test_zero_query_and_zero_residual() -> None:
    model, _ = network(replace(SMALL, zero_query=True, zero_residual=True))
    qkv = model.blocks[0].attention.qkv.weight
    assert qkv[0].abs().max() == 0
    assert qkv[1].std() > 0
    assert qkv[2].std() > 0
    tokens = torch.randint(50, (2, 16))
    alone = model.readout(model.final_norm(model.embedding(tokens)))
    torch.testing.assert_close(model(tokens), alone)


def test_groups_hold_every_parameter_once_with_its_role_and_fans() -> None:
    model, scaling = network(replace(SMALL, feed_forward="swiglu"))
    groups = parameter_groups(model, scaling)
    names = [n for g in groups for n in g.names]
    assert sorted(names) == sorted(n for n, _ in model.named_parameters())
    role = {n: g for g in groups for n in g.names}
    qkv = role["blocks.1.attention.qkv.weight"]
    assert (qkv.role, qkv.fan_in, qkv.fan_out) == ("hidden", 32, 32)
    assert dict(model.named_parameters())["blocks.1.attention.qkv.weight"].shape == (3, 32, 32)
    gate = role["blocks.0.feed_forward.gate_up.weight"]
    assert (gate.role, gate.fan_in, gate.fan_out) == ("hidden", 32, 128)
    assert (role["embedding.weight"].role, role["embedding.weight"].fan_in) == ("embedding", 50)
    assert (role["readout.weight"].role, role["readout.weight"].fan_out) == ("readout", 50)
    assert role["final_norm.weight"].role == "vector"
    assert role["final_norm.weight"].fan_in == 1


def test_stacks_name_their_members() -> None:
    model, _ = network(replace(SMALL, feed_forward="swiglu"))
    assert model.stacks["blocks.0.attention.qkv.weight"] == ("query", "key", "value")
    assert model.stacks["blocks.1.feed_forward.gate_up.weight"] == ("gate", "up")


@dataclass(frozen=True)
class Recording(Standard):
    """Standard, with a multiplier on every matrix's output; keeps what it was asked."""

    asked: Any = None
    factor: float = 1.0

    def scaling(self, shape: ParameterShape, family: Family) -> Scaling:
        self.asked.append((shape, family))
        forward = 1.0 if shape.role == "vector" else self.factor
        return Scaling(init_std=super().scaling(shape, family).init_std, forward=forward)


def test_the_parametrization_is_told_base_shapes_depth_and_family() -> None:
    parametrization = Recording(asked=[])
    wide = replace(SMALL, width=64, depth=3)
    model, base = (Transformer(a, RMSNorm(), parametrization) for a in (wide, SMALL))
    scalings(model, places(base), (3, 2), parametrization, Muon(lr=0.01))
    asked = dict(zip(places(model), parametrization.asked, strict=True))
    shape, family = asked["blocks.2.attention.qkv.weight"]
    assert (shape.fan_in, shape.base_fan_in, shape.depth, shape.base_depth) == (64, 32, 3, 2)
    assert shape.residual
    assert family == "muon"
    shape, family = asked["readout.weight"]
    assert (shape.fan_in, shape.fan_out, shape.base_fan_in, shape.residual) == (64, 50, 32, False)
    assert family == "adam"
    shape, _ = asked["blocks.0.attention_norm.weight"]
    assert (shape.role, shape.fan_in, shape.residual) == ("vector", 1, True)


def test_forward_multipliers_reach_every_map() -> None:
    double = Recording(asked=[], factor=2.0)
    model = Transformer(SMALL, RMSNorm(), double)
    scaling = scalings(model, places(model), (2, 2), double, AdamW(lr=1e-3))
    initialise(model, scaling, Streams(0, "x"))
    for name, module in model.named_modules():
        if hasattr(module, "multiplier"):
            assert module.multiplier == 2.0, name
    x = torch.randn(3, 32)
    torch.testing.assert_close(model.readout(x), 2 * x @ model.readout.weight.T)
    plain, _ = network()
    torch.testing.assert_close(model.embedding(torch.arange(5)).std() / 2, model.embedding.weight[:5].std())
    assert {n for n, _ in plain.named_parameters()} == {n for n, _ in model.named_parameters()}


def test_a_multiplier_that_no_module_applies_is_refused() -> None:
    model, scaling = network()
    scaling["final_norm.weight"] = Scaling(init_std=0.0, forward=0.5)
    with pytest.raises(HarnessError, match=r"final_norm\.weight.*forward multiplier 0\.5"):
        initialise(model, scaling, Streams(0, "x"))


def test_attention_and_residual_scale_enter() -> None:
    @dataclass(frozen=True)
    class Scaled(Standard):
        def attention_scale(self, head_width: int, base_head_width: int) -> float:
            return head_width / base_head_width

        def residual_scale(self, depth: int, base_depth: int) -> float:
            return base_depth / depth

    model = Transformer(SMALL, RMSNorm(), Scaled(), base_head_width=16, base_depth=1)
    assert model.blocks[0].attention.scale == 0.5
    assert model.blocks[0].residual_scale == 0.5


def test_a_norm_may_ask_for_an_embedding_scale() -> None:
    @dataclass(frozen=True)
    class Asking(LayerNorm):
        def embedding_scale(self, width: int) -> float:
            return math.sqrt(width)

    model, _ = network(norm=Asking())
    assert model.embedding_scale is not None
    assert model.embedding_scale.item() == pytest.approx(math.sqrt(32))
    model(torch.randint(50, (1, 4))).sum().backward()
    assert model.embedding_scale.grad is not None


def test_the_model_overrules_the_norm_on_the_embeddings_scalar() -> None:
    @dataclass(frozen=True)
    class Asking(LayerNorm):
        def embedding_scale(self, width: int) -> float:
            return 3.0

    given, _ = network(replace(SMALL, embedding_scalar=True), norm=Asking())
    assert given.embedding_scale is not None
    assert given.embedding_scale.item() == pytest.approx(math.sqrt(32))
    assert network(replace(SMALL, embedding_scalar=False), norm=Asking())[0].embedding_scale is None
    # Any norm gets one, and it multiplies what the blocks see.
    scaled, _ = network(replace(SMALL, embedding_scalar=True, depth=0), norm=Identity())
    plain, _ = network(replace(SMALL, depth=0), norm=Identity())
    tokens = torch.arange(8)[None]
    torch.testing.assert_close(scaled(tokens), plain(tokens) * math.sqrt(32))


def test_bfloat16_autocast_is_close_to_float32() -> None:
    model, _ = network()
    tokens = torch.randint(50, (2, 17))
    exact = next_token_loss(model(tokens[:, :-1]), tokens[:, 1:])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = next_token_loss(model(tokens[:, :-1]), tokens[:, 1:])
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.02)
    rounded.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())

"""FLOPs by formula against torch's counter."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from baselines.norms.rmsnorm import RMSNorm
from baselines.parametrizations.standard import Standard
from harness.models.parameters import places
from harness.models.transformer import Architecture, Transformer, next_token_loss
from harness.models.transformer_size import TransformerSize, training_flops


@pytest.mark.parametrize("feed_forward", ["relu2", "swiglu"])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_formula_equals_torchs_counter(feed_forward: str, qk_norm: bool) -> None:
    a = Architecture(
        vocab_size=50, width=32, depth=3, head_width=8, context=24, feed_forward=feed_forward,
        feed_forward_width=96, qk_norm=qk_norm,
    )
    model = Transformer(a, RMSNorm(), Standard())
    for p in model.parameters():
        torch.nn.init.normal_(p)
    size = TransformerSize(vocab_size=50, width=32, depth=3, feed_forward_width=96, feed_forward=feed_forward)
    tokens = torch.randint(50, (2, 25))
    # The formula backend is made of products that the counter sees one by one.
    with FlopCounterMode(display=False) as forward, sdpa_kernel(SDPBackend.MATH):
        loss = next_token_loss(model(tokens[:, :-1]), tokens[:, 1:])
    ours = training_flops(size, 24, 2 * 24)
    with FlopCounterMode(display=False) as backward, sdpa_kernel(SDPBackend.MATH):
        loss.backward()
    assert forward.get_total_flops() == ours / 3
    assert forward.get_total_flops() + backward.get_total_flops() == ours


def test_shapes_are_the_models() -> None:
    for feed_forward in ("relu2", "swiglu"):
        a = Architecture(
            vocab_size=50, width=32, depth=2, head_width=8, context=8, feed_forward=feed_forward,
            feed_forward_width=80,
        )
        model = Transformer(a, RMSNorm(), Standard())
        size = TransformerSize(
            vocab_size=50, width=32, depth=2, feed_forward_width=80, feed_forward=feed_forward
        )
        where = places(model)
        matrices = [
            (where[n].role, tuple(p.shape)) for n, p in model.named_parameters() if where[n].role != "vector"
        ]
        assert sorted(size.shapes()) == sorted(matrices)
        hidden = sum(p.numel() for n, p in model.named_parameters() if where[n].role == "hidden")
        assert size.matrix_parameters == hidden


def test_known_value() -> None:
    """One block of width 64, ratio 4, 256 tokens: 12 d^2 parameters, and 4 T d of attention a token."""
    size = TransformerSize(vocab_size=100, width=64, depth=1, feed_forward_width=256)
    assert size.matrix_parameters == 12 * 64**2
    assert training_flops(size, 256, 10) == 3 * 10 * (2 * 12 * 64**2 + 4 * 256 * 64 + 2 * 100 * 64)

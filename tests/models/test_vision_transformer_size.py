"""FLOPs of the vision transformer by formula against torch's counter."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from baselines.norms.rmsnorm import RMSNorm
from baselines.parametrizations.standard import Standard
from harness.models.parameters import places
from harness.models.vision_transformer import VisionArchitecture, VisionTransformer
from harness.models.vision_transformer_size import VisionTransformerSize


@pytest.mark.parametrize("feed_forward", ["relu2", "swiglu"])
def test_formula_equals_torchs_counter(feed_forward: str) -> None:
    a = VisionArchitecture(
        num_classes=7, size=12, channels=3, patch=3, width=32, depth=3, head_width=8,
        feed_forward=feed_forward, feed_forward_width=96,
    )  # fmt: skip
    model = VisionTransformer(a, RMSNorm(), Standard())
    for p in model.parameters():
        torch.nn.init.normal_(p)
    size = VisionTransformerSize(
        num_classes=7, num_patches=16, patch_numbers=27, width=32, depth=3, feed_forward_width=96,
        feed_forward=feed_forward,
    )  # fmt: skip
    assert (a.num_patches, a.patch_numbers) == (size.num_patches, size.patch_numbers)
    where = places(model)
    matrices = [(where[n].role, tuple(p.shape)) for n, p in model.named_parameters() if p.ndim > 1]
    assert sorted(size.shapes()) == sorted(matrices)
    assert size.matrix_parameters == sum(
        p.numel() for n, p in model.named_parameters() if where[n].role == "hidden"
    )
    pictures = torch.randn(5, 3, 12, 12)
    with FlopCounterMode(display=False) as forward, sdpa_kernel(SDPBackend.MATH):
        loss = F.cross_entropy(model(pictures), torch.arange(5))
    with FlopCounterMode(display=False) as backward, sdpa_kernel(SDPBackend.MATH):
        loss.backward()
    assert forward.get_total_flops() == sum(size.forward_flops().values()) * 5
    assert forward.get_total_flops() + backward.get_total_flops() == size.training_flops(5)


def test_known_value() -> None:
    """One block of width 64, ratio 4, 49 patches of 48 numbers, 10 classes."""
    size = VisionTransformerSize(
        num_classes=10, num_patches=49, patch_numbers=48, width=64, depth=1, feed_forward_width=256
    )
    blocks, attention = 2 * 12 * 64**2, 4 * 49 * 64
    assert size.training_flops(2) == 2 * (3 * 49 * (blocks + attention) + 2 * 49 * 2 * 48 * 64 + 3 * 2 * 10 * 64)

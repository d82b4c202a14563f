"""A vision transformer (2010.11929) of the language model's blocks, without a mask and with learned positions.

As in 2205.01580 there is no class token: patches are normalised, averaged and read out.
Shapes: B pictures, C channels, S pixels a side, N patches, P numbers of a patch, D width, V classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.methods.norm import Norm
from harness.methods.parametrization import Parametrization
from harness.models import blocks
from harness.models.blocks import BlockArchitecture, Embedding, Linear, build_blocks
from harness.models.parameters import weight


@dataclass(frozen=True, kw_only=True)
class VisionArchitecture(BlockArchitecture):
    """Sizes and choices of a vision transformer."""

    num_classes: int
    size: int
    """Pixels of a side of the pictures."""
    channels: int
    patch: int
    """Pixels of a side of a patch; divides the size."""
    causal: bool = False
    zero_readout: bool = False

    @property
    def num_patches(self) -> int:
        return (self.size // self.patch) ** 2

    @property
    def patch_numbers(self) -> int:
        """Numbers of a patch, all channels."""
        return self.channels * self.patch**2


def patches(pictures_BCSS: Tensor, patch: int) -> Tensor:
    """(B, N, P): the patches line by line, each channel by channel and line by line."""
    B, C, S, _ = pictures_BCSS.shape
    n = S // patch
    return pictures_BCSS.view(B, C, n, patch, n, patch).permute(0, 2, 4, 1, 3, 5).reshape(B, n * n, -1)


class PatchEmbedding(nn.Module):
    """Patches to vectors: each pixel has a vector, as a token has; a patch is their sum weighted by its numbers.

    The sum is divided by the root of their count: unit normals give unit normals whatever the size of a patch.
    """

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__()
        self.weight = weight((numbers, width), "embedding")
        self.multiplier = 1.0
        self.scale = 1.0 / math.sqrt(numbers)

    def forward(self, patches_BNP: Tensor) -> Tensor:
        return (patches_BNP * (self.scale * self.multiplier)) @ self.weight


class VisionTransformer(nn.Module):
    """Logits of the classes of standardised pictures, (B, C, S, S) to (B, V). ``norm`` and ``parametrization`` are
    methods.
    """

    def __init__(
        self,
        a: VisionArchitecture,
        norm: Norm,
        parametrization: Parametrization,
        *,
        base_head_width: int | None = None,
        base_depth: int | None = None,
    ) -> None:
        super().__init__()
        self.architecture = a
        self.embedding = PatchEmbedding(a.patch_numbers, a.width)
        self.positions = Embedding(a.num_patches, a.width)
        scale = norm.embedding_scale(a.width)
        self.embedding_scale = None if scale is None else nn.Parameter(torch.tensor(float(scale)))
        self.blocks = build_blocks(
            a, norm, parametrization, base_head_width=base_head_width, base_depth=base_depth
        )
        self.final_norm = norm.build(a.width, "final")
        self.readout = Linear((a.num_classes, a.width), "readout", zero_init=a.zero_readout)

    @property
    def stacks(self) -> Mapping[str, tuple[str, ...]]:
        """Parameter name -> names of the matrices in it."""
        return blocks.stacks(self)

    def forward(self, pictures_BCSS: Tensor) -> Tensor:
        x_BND = self.embedding(patches(pictures_BCSS, self.architecture.patch))
        # Every position once, in order: what a look-up of each would give.
        x_BND = torch.add(x_BND, self.positions.weight, alpha=self.positions.multiplier)
        if self.embedding_scale is not None:
            x_BND = x_BND * self.embedding_scale
        for block in self.blocks:
            x_BND = block(x_BND)
        return self.readout(self.final_norm(x_BND).mean(1))

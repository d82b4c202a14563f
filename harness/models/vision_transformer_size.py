"""FLOPs of a vision transformer by formula, counted as those of a language model are. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.methods.roles import Role
from harness.models.transformer_size import TransformerSize


@dataclass(frozen=True, kw_only=True)
class VisionTransformerSize:
    """What the FLOPs of a vision transformer depend on."""

    num_classes: int
    num_patches: int
    patch_numbers: int
    """Numbers of a patch, all channels."""
    width: int
    depth: int
    feed_forward_width: int
    feed_forward: str = "relu2"

    @property
    def _sequence(self) -> TransformerSize:
        """The transformer of the same blocks whose tokens are the classes."""
        return TransformerSize(
            vocab_size=self.num_classes, width=self.width, depth=self.depth,
            feed_forward_width=self.feed_forward_width, feed_forward=self.feed_forward,
        )  # fmt: skip

    @property
    def matrix_parameters(self) -> int:
        """Parameters of the blocks' matrices: what is called non-embedding parameters here."""
        return self._sequence.matrix_parameters

    def shapes(self) -> Sequence[tuple[Role, tuple[int, ...]]]:
        """(role, shape) of every matrix; vectors, whose number depends on the norm, are left out."""
        _, *after = self._sequence.shapes()
        return [
            ("embedding", (self.patch_numbers, self.width)), ("embedding", (self.num_patches, self.width)), *after
        ]  # fmt: skip

    def forward_flops(self) -> dict[str, float]:
        """FLOPs a picture of a forward pass, by part: patches, blocks, attention, readout (of the mean, once)."""
        a_patch = self._sequence.forward_flops(self.num_patches)
        return {
            "patches": 2.0 * self.num_patches * self.patch_numbers * self.width,
            "blocks": self.num_patches * a_patch["blocks"],
            "attention": self.num_patches * a_patch["attention"],
            "readout": a_patch["readout"],
        }

    def training_flops(self, pictures: int) -> float:
        """FLOPs of forward and backward passes over this many pictures: three forward passes, and two of the
        patches' map, as pixels need no gradient.
        """
        forward = self.forward_flops()
        return (3.0 * sum(forward.values()) - forward["patches"]) * pictures

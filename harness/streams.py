"""The random streams of a trial: every draw has a key of its own, so that none depends on the order of draws."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Streams:
    """Random streams of a trial: keyed by (seed index, size axes), then purpose, then name or step.

    Arm, learning rate and order of draws are no part of the key, so arms of one seed see the same batches
    and, where shapes agree, the same initial weights; sizes are independent of each other.
    """

    seed: int
    size: str
    """The size axes as text, e.g. ``width=24,depth=2``."""

    def key(self, purpose: str, name: str | int = "") -> int:
        """A 64-bit key for one draw."""
        text = f"{self.seed}|{self.size}|{purpose}|{name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")

    def integers(self, purpose: str, name: str | int, high: int, shape: int | tuple[int, ...]):
        """numpy int64 array of this shape, uniform on [0, high)."""
        import numpy as np

        return np.random.Generator(np.random.Philox(key=self.key(purpose, name))).integers(0, high, shape)

    def normal(self, purpose: str, name: str | int, shape: tuple[int, ...]):
        """Unit normals as a CPU float32 tensor of this shape."""
        import torch

        generator = torch.Generator(device="cpu").manual_seed(self.key(purpose, name) >> 1)
        return torch.randn(shape, generator=generator, dtype=torch.float32)

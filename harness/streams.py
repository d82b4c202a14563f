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
        """A 128-bit key for one draw."""
        text = f"{self.seed}|{self.size}|{purpose}|{name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")

    def _generator(self, purpose: str, name: str | int):
        """numpy's, since Philox takes the whole key; torch's on a CPU takes 32 bits of a seed."""
        import numpy as np

        return np.random.Generator(np.random.Philox(key=self.key(purpose, name)))

    def integers(self, purpose: str, name: str | int, high: int, shape: int | tuple[int, ...]):
        """numpy int64 array of this shape, uniform on [0, high)."""
        return self._generator(purpose, name).integers(0, high, shape)

    def normal(self, purpose: str, name: str | int, shape: tuple[int, ...]):
        """Unit normals as a CPU float32 tensor of this shape."""
        import torch

        return torch.from_numpy(self._generator(purpose, name).standard_normal(shape, dtype="float32"))

"""AVIF (AV1's intra frames) by Pillow: from bare pixels, since Pillow copies colour profiles into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.codecs._classic import Classic, quality_within
from harness.registry import register


@register("codec")
@dataclass(frozen=True, kw_only=True)
class AVIF(Classic):
    """AVIF with chroma at half resolution."""

    format: ClassVar[str] = "AVIF"
    feature: ClassVar[str] = "avif"

    quality: int = 20
    """libavif's quality, 0 to 100."""
    speed: int = 4
    """0 for the slowest and smallest, to 10."""

    def __post_init__(self) -> None:
        quality_within("AVIF", self.quality, 0, 100)
        if not 0 <= self.speed <= 10:
            raise ValueError(f"AVIF: speed must lie in 0 to 10, got {self.speed}")

    def options(self, size: tuple[int, int]) -> dict[str, Any]:
        """One thread: how many there are may change the bytes."""
        return {"quality": self.quality, "speed": self.speed, "subsampling": "4:2:0", "max_threads": 1}

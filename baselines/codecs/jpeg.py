"""JPEG (ITU-T T.81) by Pillow, Huffman tables optimised: about 300 of its bytes are header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.codecs._classic import Classic, quality_within
from harness.registry import register


@register("codec")
@dataclass(frozen=True, kw_only=True)
class JPEG(Classic):
    """JPEG with chroma at half resolution."""

    format: ClassVar[str] = "JPEG"
    feature: ClassVar[str] = "jpg"

    quality: int = 20
    """libjpeg's quality, 1 to 95."""

    def __post_init__(self) -> None:
        quality_within("JPEG", self.quality, 1, 95)

    def options(self, size: tuple[int, int]) -> dict[str, Any]:
        """Optimised Huffman tables, 4:2:0."""
        return {"quality": self.quality, "optimize": True, "subsampling": "4:2:0"}

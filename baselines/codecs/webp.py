"""WebP, lossy (VP8's intra frames, RFC 9649), by Pillow at its slowest method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.codecs._classic import Classic, quality_within
from harness.registry import register


@register("codec")
@dataclass(frozen=True, kw_only=True)
class WebP(Classic):
    """Lossy WebP."""

    format: ClassVar[str] = "WEBP"
    feature: ClassVar[str] = "webp"

    quality: int = 20
    """libwebp's quality, 0 to 100."""

    def __post_init__(self) -> None:
        quality_within("WebP", self.quality, 0, 100)

    def options(self, size: tuple[int, int]) -> dict[str, Any]:
        """The slowest method."""
        return {"quality": self.quality, "method": 6}

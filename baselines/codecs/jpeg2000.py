"""JPEG 2000 (ITU-T T.800), irreversible, by Pillow: a bare code stream, without the boxes of a JP2 file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from baselines.codecs._classic import Classic
from harness.registry import register


@register("codec")
@dataclass(frozen=True, kw_only=True)
class JPEG2000(Classic):
    """JPEG 2000 at a given ratio of compression."""

    format: ClassVar[str] = "JPEG2000"
    feature: ClassVar[str] = "jpg_2000"

    ratio: float = 100.0
    """Bytes of the bare pixels over those of the code stream, at least 1."""

    def __post_init__(self) -> None:
        if not (self.ratio >= 1 and math.isfinite(self.ratio)):
            raise ValueError(f"JPEG2000: ratio must be at least 1, got {self.ratio}")

    def options(self, size: tuple[int, int]) -> dict[str, Any]:
        """As many halvings as the smaller side has, up to the usual five."""
        return {
            "quality_mode": "rates",
            "quality_layers": [self.ratio],
            "irreversible": True,
            "no_jp2": True,
            "num_resolutions": min(6, min(size).bit_length()),
        }

"""What the probes share: checked settings, layers by name, sampled steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError, unknown
from harness.validation import told


class Settings(BaseModel):
    """Base of a probe's settings: frozen, no unknown keys, docstrings as descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


S = TypeVar("S", bound=Settings)


def parse(cls: type[S], settings: Mapping[str, Any], probe: str) -> S:
    """The settings, checked. HarnessError naming the probe, the key, its value and what is valid."""
    for key in settings:
        if key not in cls.model_fields:
            raise unknown(f"setting of probe {probe!r}", str(key), cls.model_fields)
    try:
        return cls.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise HarnessError(
            f"probe {probe!r}, setting {place!r}: {told(first)}"
        ) from None


def layer_of(name: str) -> int:
    """Index of the residual block that a dotted name lies in: its first number; -1 outside of blocks."""
    match = re.search(r"(?:^|\.)(\d+)(?=\.)", name)
    return int(match.group(1)) if match else -1


def sampled(total: int, samples: int, spacing: str) -> list[int]:
    """Up to ``samples`` steps among 0 .. total - 1, first and last included; none where total is 0."""
    if total <= samples:
        return list(range(total))
    if samples == 1:
        return [0]
    if spacing == "even":
        return sorted({round(i * (total - 1) / (samples - 1)) for i in range(samples)})
    # Logarithmic in the number of updates, 1 .. total.
    return sorted({round(total ** (i / (samples - 1))) - 1 for i in range(samples)})

"""Contract of the kind ``rank``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from harness.methods.rank import Rank

PROTOCOL = Rank


def check(method: Any) -> Iterator[str]:
    """Breaches of the rank's contract."""
    s = torch.linspace(2.0, 0.1, 8, dtype=torch.float64)
    value = method(torch.stack([s, s]), (8, 8))
    if value.shape != (2,):
        yield f"of singular values (2, 8) has shape {tuple(value.shape)}, expected (2,)"
    zero = method(torch.zeros(8, dtype=torch.float64), (8, 8))
    if not torch.isfinite(zero).all():
        yield f"of a zero matrix is {zero}; define it"
    if "id" not in method.definition():
        yield f"definition() lacks 'id'; it has {sorted(method.definition())}"

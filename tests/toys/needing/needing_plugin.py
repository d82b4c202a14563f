"""A plug-in for tests: two workloads, one of which reads what the other left; and a method, as each must offer."""

from dataclasses import dataclass
from pathlib import Path

import harness.workloads
from harness.registry import register

FOLDER = str(Path(__file__).parent / "workloads")
if FOLDER not in harness.workloads.__path__:
    harness.workloads.__path__.append(FOLDER)


@register("rank", name="needing_rank")
@dataclass(frozen=True, kw_only=True)
class NeedingRank:
    scale: float = 1.0
    """Unused."""

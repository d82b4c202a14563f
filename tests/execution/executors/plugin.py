"""A plug-in for tests: a rank, and a folder of workloads that spawned workers find through it."""

from dataclasses import dataclass
from pathlib import Path

import harness.workloads
from harness.registry import register

FOLDER = str(Path(__file__).parent / "workloads")
if FOLDER not in harness.workloads.__path__:
    harness.workloads.__path__.append(FOLDER)


@register("rank", name="test_rank")
@dataclass(frozen=True, kw_only=True)
class TestRank:
    scale: float = 1.0
    """Unused."""


@register("rank", name="absent_rank")
@dataclass(frozen=True, kw_only=True)
class AbsentRank:
    @staticmethod
    def available() -> str | None:
        return "needs a quantum computer"

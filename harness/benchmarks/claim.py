"""Is DyT faster than RMSNorm (2503.10622), on this device: eager, compiled, and each norm at its fastest.

At its fastest each norm takes the form with the least median time at that shape and pass, so that no side is held
back by what nobody compiled.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from harness.benchmarks.judging import pooled
from harness.benchmarks.samples import CaseSamples, Samples

GROUP = "dyt_against_rmsnorm"
SIDES = {"dyt": ("dyt", "dyt compiled"), "rmsnorm": ("rmsnorm", "torch_rmsnorm", "rmsnorm compiled")}
"""Norm -> its forms."""
EAGER, COMPILED, FASTEST = "eager", "compiled", "each at its fastest"
SHARE = 0.05
"""Of the ratios of rounds: the answer stands where at most these lie on the other side of 1."""
Answer = Literal["faster", "slower", "unresolved"]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """DyT over RMSNorm at one shape and pass."""

    case: str
    how: str
    dyt: str
    rmsnorm: str
    """The forms that were held against each other."""
    ratio: float
    """DyT's seconds over RMSNorm's: median over rounds."""
    spread: tuple[float, float]
    """Where the middle 90 % of rounds lie."""
    runs: tuple[float, float]
    """Lowest and highest median of a run."""
    answer: Answer
    """Of DyT."""


def contests(samples: Samples) -> list[Contest]:
    """Three rows for each case of the group; none where it was not measured."""
    out = []
    for case in samples.cases:
        if case.group != GROUP:
            continue
        fastest = {side: _fastest(case, forms) for side, forms in SIDES.items()}
        for how, pair in {
            EAGER: ("dyt", "rmsnorm"),
            COMPILED: ("dyt compiled", "rmsnorm compiled"),
            FASTEST: (fastest["dyt"], fastest["rmsnorm"]),
        }.items():
            out.append(_contest(case, how, *pair))
    return out


def _fastest(case: CaseSamples, forms: tuple[str, ...]) -> str:
    return min(forms, key=lambda f: statistics.median(s for run in case.forms[f].runs for s in run))


def _contest(case: CaseSamples, how: str, dyt: str, rmsnorm: str) -> Contest:
    runs = case.ratios(dyt, rmsnorm)
    every = sorted(pooled(runs))
    medians = [statistics.median(run) for run in runs]
    below = sum(r < 1 for r in every) / len(every)
    answer: Answer = "faster" if below >= 1 - SHARE else "slower" if below <= SHARE else "unresolved"
    edge = int(SHARE * len(every))
    return Contest(
        case=case.name, how=how, dyt=dyt, rmsnorm=rmsnorm, ratio=statistics.median(every),
        spread=(every[edge], every[-1 - edge]), runs=(min(medians), max(medians)), answer=answer,
    )  # fmt: skip


def in_words(found: list[Contest]) -> str:
    """The answer on this device, at the fairest: each norm at its fastest."""
    fair = [c for c in found if c.how == FASTEST]
    if not fair:
        return "DyT against RMSNorm: not measured here"
    count = {a: sum(c.answer == a for c in fair) for a in ("faster", "slower", "unresolved")}
    low, high = min(c.ratio for c in fair), max(c.ratio for c in fair)
    return (
        f"DyT against RMSNorm on this device, each at its fastest: faster at {count['faster']}, slower at "
        f"{count['slower']}, unresolved at {count['unresolved']} of {len(fair)} shapes and passes; it takes "
        f"{low:.2f} to {high:.2f} times as long"
    )

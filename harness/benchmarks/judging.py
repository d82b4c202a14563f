"""Has a form become slower, beside the reference implementation, than the committed samples say?

Two conditions, both needed: Mann and Whitney's rank test of the ratios of all rounds, one-sided, at a share of
FALSE_ALARMS (Bonferroni over the rows); and a factor, beyond the reference's slowest run. The test alone would call
a stable 3 % a regression, and what a process is given for its whole life (where its code and memory lie, its
neighbours) as well: rounds of a run are not independent of each other. So a row whose runs differ much needs more
to be called slower, and says how much.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from harness.benchmarks.samples import CaseSamples, Samples

Status = Literal["slower", "missing", "new", "faster", "same"]
FALSE_ALARMS = 0.01
"""Share of checks without a change in which some row may pass the rank test."""
FACTOR = 1.15
"""How far the median must lie beyond every run of the reference: a ratio that moved by less is not slower."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One form of one case, now and in the reference."""

    group: str
    case: str
    form: str
    over: str
    """The implementation that it is divided by."""
    status: Status
    ratio: float | None = None
    """Median over rounds, now."""
    spread: tuple[float, float] | None = None
    """Tenth and ninetieth percentile of the rounds, now."""
    before: float | None = None
    """Median in the reference."""
    moved: float | None = None
    """ratio / before."""
    needs: float | None = None
    """What ``moved`` must exceed to be slower: FACTOR, and what lies between the reference's runs."""
    p: float | None = None
    """Of the rank test, one-sided, before the correction; None where the factor alone says that it is the same."""
    seconds: float | None = None
    """Median, now: says as much of the machine's other work as of the code."""
    bytes: float | None = None
    flops: float | None = None
    ceiling: str = ""
    share: float | None = None
    """Of the ceiling measured in the same rounds: its rate of bytes or operations over a copy's or a product's."""
    why: str = ""


def pooled(runs: list[list[float]]) -> list[float]:
    """Every round of every run."""
    return [r for run in runs for r in run]


def judge(now: Samples, reference: Samples) -> list[Row]:
    """A row for each form on either side. Cases and forms that only the reference has are missing."""
    mine = {(c.group, c.name): c for c in now.cases}
    theirs = {(c.group, c.name): c for c in reference.cases}
    tests = sum(len(c.compared) for c in theirs.values())
    rows = []
    for key in dict.fromkeys([*theirs, *mine]):
        case, base = mine.get(key), theirs.get(key)
        whole = case or base
        assert whole is not None
        forms = [*(base.compared if base else []), *(case.compared if case else [])]
        for form in dict.fromkeys(forms):
            row = Row(group=key[0], case=key[1], form=form, over=whole.reference, status="missing")
            if case is None or form not in case.compared:
                rows.append(replace(row, why=_why(now, key, form)))
                continue
            row = described(case, form)
            if base is not None and base.reference == case.reference and form in base.compared:
                row = compared(row, case, base, FALSE_ALARMS / tests)
            rows.append(row)
    return rows


def described(case: CaseSamples, form: str) -> Row:
    """What was measured of a form, held against nothing yet."""
    ratios = sorted(pooled(case.ratios(form)))
    about, best = case.forms[form], case.forms[case.ceiling]
    work = (about.bytes, best.bytes) if case.ceiling == "copy" else (about.flops, best.flops)
    share = work[0] / work[1] / statistics.median(pooled(case.ratios(form, case.ceiling)))
    return Row(
        group=case.group, case=case.name, form=form, over=case.reference, status="new",
        ratio=statistics.median(ratios), spread=(ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]),
        seconds=statistics.median(s for run in about.runs for s in run), bytes=about.bytes, flops=about.flops,
        ceiling=case.ceiling, share=share,
    )  # fmt: skip


def compared(row: Row, case: CaseSamples, base: CaseSamples, level: float) -> Row:
    """The row held against the reference's samples; ``level``: the p-value below which ranks differ."""
    before = base.ratios(row.form)
    status, moved, needs, p = verdict(pooled(case.ratios(row.form)), before, level)
    return replace(row, status=status, before=statistics.median(pooled(before)), moved=moved, needs=needs, p=p)


def verdict(now: list[float], runs: list[list[float]], level: float) -> tuple[Status, float, float, float | None]:
    """(status, moved, needs, p) of ratios now against those of the reference's runs: see :class:`Row`."""
    before = pooled(runs)
    middle = statistics.median(before)
    medians = [statistics.median(run) / middle for run in runs]
    moved, needs = statistics.median(now) / middle, FACTOR * max(medians)
    if min(medians) / FACTOR <= moved <= needs:
        return "same", moved, needs, None
    p = rank_test(now, before, worse=moved > 1)
    return "same" if p >= level else "slower" if moved > 1 else "faster", moved, needs, p


def rank_test(now: list[float], before: list[float], worse: bool) -> float:
    """Mann and Whitney's p-value that the first lie above (``worse``) or below; logarithms have the same ranks."""
    # Here and not above: the pages that need no test need no scipy.
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(now, before, alternative="greater" if worse else "less").pvalue)


def _why(now: Samples, key: tuple[str, str], form: str) -> str:
    for part, reason in now.absent.items():
        name, _, which = part.partition(": ")
        if name == key[0] and (key[1].startswith(f"{which}: ") or which == "all"):
            return reason
    return "not measured here"


def confirmed(rows: list[Row], again: Callable[[list[Row]], Iterator[Row]]) -> list[Row]:
    """The rows, where a slower one counts only if a second measurement finds it slower, too."""
    suspects = [r for r in rows if r.status == "slower"]
    if not suspects:
        return rows
    second = {(r.group, r.case, r.form): r for r in again(suspects)}
    out = []
    for row in rows:
        other = second.get((row.group, row.case, row.form))
        if row.status == "slower" and other is not None and other.status in ("same", "faster"):
            row = replace(other, why="slower at first, not when measured again")
        out.append(row)
    return out

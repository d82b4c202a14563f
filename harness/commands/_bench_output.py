"""What the check of operators says: for a terminal, for programs, for the reference's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.benchmarks import claim, judging
from harness.benchmarks.judging import FACTOR, Row
from harness.benchmarks.samples import Samples
from harness.numbers import count, duration, fixed, plain, plural

HEADS = (
    "form", "time over the reference's", "middle 80 % of rounds", "was", "moved by a factor", "slower beyond",
    "of the ceiling",
    "bytes", "FLOPs", "took here", "status",
)  # fmt: skip
CONTEST = ("shape and pass", "how", "DyT's form", "RMSNorm's form", "DyT over RMSNorm", "middle 90 % of rounds",
           "medians of runs", "DyT is")  # fmt: skip
NOTE = (
    "Times are medians of this thread's own clock on a machine with other work; ratios within a round are what is "
    "compared. Bytes and FLOPs are those of the formula; a form that does less than it may pass the ceiling."
)


def as_dict(rows: Sequence[Row], now: Samples, path: Path) -> dict[str, Any]:
    """For programs."""
    return {
        "family": now.family,
        "reference": str(path),
        "result": result(rows, now, path),
        "rows": [asdict(row) for row in rows],
        "absent": now.absent,
        "dyt_against_rmsnorm": [asdict(c) for c in claim.contests(now)],
    }


def result(rows: Sequence[Row], now: Samples, path: Path) -> str:
    """The whole in a few words; never "none slower" where something was not compared."""
    count_of = {s: sum(row.status == s for row in rows) for s in ("slower", "faster", "same", "missing", "new")}
    compared = count_of["slower"] + count_of["faster"] + count_of["same"]
    left = count_of["missing"] + count_of["new"]
    rest = f"; {left} could not be compared" if left else ""
    if not path.is_file():
        return (
            f"not measured here: there is no reference for {now.family} ({path}); "
            "make one: harness bench-check --update --reason '...'"
        )
    if not compared:
        return f"nothing compared with {path}{rest}"
    if count_of["slower"]:
        slow = f"{count_of['slower']} of {plural(compared, 'form')} slower"
        return f"{slow} than every run of the reference by more than {FACTOR:g}{rest}"
    return f"{plural(compared, 'form')} held against {path}: none slower, {count_of['faster']} faster{rest}"


def as_text(rows: Sequence[Row], now: Samples, path: Path) -> str:
    """For a terminal: a table a case, then what could not be measured, the claim and the result."""
    lines = tables(rows)
    lines += [f"not measured: {part}: {why}" for part, why in now.absent.items()]
    if found := claim.contests(now):
        lines += ["DyT over RMSNorm", *(f"  {_contest(c)}" for c in found), claim.in_words(found)]
    return "\n".join([*lines, NOTE, result(rows, now, path)])


def tables(rows: Sequence[Row]) -> list[str]:
    """Lines of a table a case; columns that nothing is in are left out."""
    lines: list[str] = []
    for title, members in _by_case(rows):
        filled = [_cells(row) for row in members]
        kept = [n for n in range(len(HEADS)) if any(cells[n] for cells in filled)]
        table = [[cells[n] for n in kept] for cells in (HEADS, *filled)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines.append(title)
        for cells in table:
            lines.append("  " + "  ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)).rstrip())
    return lines


def as_markdown(now: Samples) -> str:
    """The page beside a reference."""
    rows = [judging.described(case, form) for case in now.cases for form in case.compared]
    about = now.machine
    runs = max(len(next(iter(case.forms.values())).runs) for case in now.cases)
    lines = [
        f"# Operators on {now.family}",
        "",
        f"{about['numerics_class']}; {plural(runs, 'run')}, each part in a process of its own, one thread. {NOTE}",
        "",
        "Written by `harness bench-check --update`; `harness bench-check` holds this machine against it.",
    ]
    if found := claim.contests(now):
        lines += [
            "", "## Is DyT faster than RMSNorm?", "", claim.in_words(found) + ".", "",
            *_markdown(CONTEST, map(_contest_cells, found)),
        ]  # fmt: skip
    heads = [h for n, h in enumerate(HEADS) if h not in ("was", "moved by a factor", "slower beyond", "status")]
    for title, members in _by_case(rows):
        kept = ([c for c, h in zip(_cells(row), HEADS, strict=True) if h in heads] for row in members)
        lines += ["", f"## {title}", "", *_markdown(heads, kept)]
    return "\n".join(lines) + "\n"


def _by_case(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    return [
        (f"{group}: {case}, over {over}", list(members))
        for (group, case, over), members in groupby(rows, key=lambda r: (r.group, r.case, r.over))
    ]


def _cells(row: Row) -> tuple[str, ...]:
    if row.ratio is None or row.spread is None:
        return (row.form, *[""] * (len(HEADS) - 2), f"missing: {row.why}")
    said = f"{row.status}: {row.why}" if row.why else row.status
    was, moved, needs = ("" if v is None else fixed(v, 2) for v in (row.before, row.moved, row.needs))
    share = f"{plain(100 * (row.share or 0), 2)} % of a {row.ceiling}"
    return (
        row.form, fixed(row.ratio, 2), _range(row.spread), was, moved, needs, share, f"{count(row.bytes)}B",
        count(row.flops), duration(row.seconds), said,
    )  # fmt: skip


def _contest_cells(c: claim.Contest) -> tuple[str, ...]:
    return (c.case, c.how, c.dyt, c.rmsnorm, fixed(c.ratio, 2), _range(c.spread), _range(c.runs), c.answer)


def _contest(c: claim.Contest) -> str:
    forms = f"{c.dyt} over {c.rmsnorm}"
    return f"{c.case}, {c.how} ({forms}): {fixed(c.ratio, 2)} [{_range(c.spread)}], {c.answer}"


def _range(pair: tuple[float, float]) -> str:
    return f"{fixed(pair[0], 2)} to {fixed(pair[1], 2)}"


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]

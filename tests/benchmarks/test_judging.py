"""The rule that calls a form slower: known ratios, and a real machine's samples with and without a change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.benchmarks import judging
from harness.benchmarks import samples as files
from harness.benchmarks.samples import CaseSamples, Form, Samples
from tests.benchmarks import made
from tests.terminal import ROOT

REFERENCES = sorted((ROOT / "results" / "reference" / "benchmarks").glob("*.json"))
RESAMPLINGS = 300
PLANTED = 1.3


def changed(samples: Samples, factor: float, form: str = "ours") -> Samples:
    """The samples with every second of a form multiplied."""
    return made.with_seconds(samples, lambda name, s: s * factor if name == form else s)


def status(now: Samples, before: Samples) -> dict[str, str]:
    return {row.form: row.status for row in judging.judge(now, before)}


# --- the rule -----------------------------------------------------------------------------------------------


def test_both_the_test_and_the_factor_must_speak() -> None:
    before = made.samples(noise=0.02)
    now = made.samples(noise=0.02, seed=1)
    assert status(now, before) == {"ours": "same", "other": "same"}
    assert status(changed(now, 1.3), before) == {"ours": "slower", "other": "same"}
    assert status(changed(now, 1 / 1.3), before) == {"ours": "faster", "other": "same"}
    # Sure, and too small to matter.
    small = changed(now, 1.1)
    ratios = [judging.pooled(s.cases[0].ratios("ours")) for s in (small, before)]
    assert judging.rank_test(*ratios, worse=True) < 1e-6 < 0.5 < judging.rank_test(*ratios, worse=False)
    assert status(small, before)["ours"] == "same"


def test_a_large_move_that_noise_explains_is_not_slower() -> None:
    before, now = (made.samples(noise=0.6, seed=seed, rounds=5, runs=1) for seed in (3, 4))
    rows = judging.judge(changed(changed(now, 1.8), 1.8, "other"), before)
    assert max((row.moved or 0) / (row.needs or 1) for row in rows) > 1
    assert all(row.status == "same" for row in rows)


def test_what_slows_the_whole_machine_changes_nothing() -> None:
    before = made.samples(noise=0.02)
    loaded = made.with_seconds(made.samples(noise=0.02, seed=1), lambda name, s: 4 * s)
    assert status(loaded, before) == {"ours": "same", "other": "same"}
    moved = [row.moved for row in judging.judge(loaded, before)]
    assert moved == [row.moved for row in judging.judge(made.samples(noise=0.02, seed=1), before)]


def test_a_row_has_the_ratio_and_the_share_of_the_ceiling() -> None:
    case = CaseSamples(group="g", name="c", reference="theirs", ceiling="copy", forms={
        "theirs": Form(bytes=100, flops=0, runs=((2.0, 4.0, 6.0),)),
        "ours": Form(bytes=100, flops=0, runs=((1.0, 2.0, 6.0),)),
        "copy": Form(bytes=50, flops=0, runs=((0.25, 0.5, 1.5),)),
    })  # fmt: skip
    row = judging.described(case, "ours")
    # Twice the bytes in four times the time.
    assert (row.ratio, row.share, row.seconds) == (0.5, 0.5, 2.0)
    assert row.spread == (0.5, 1.0)
    product = case.model_copy(update={"ceiling": "product", "forms": {
        **case.forms, "ours": Form(bytes=1, flops=30, runs=((3.0, 3.0, 3.0),)),
        "product": Form(bytes=1, flops=20, runs=((1.0, 1.0, 1.0),)),
    }})  # fmt: skip
    assert judging.described(product, "ours").share == pytest.approx(0.5)


def test_a_row_on_one_side_only_is_missing_or_new_and_never_the_same() -> None:
    whole = made.samples()
    less = made.without(whole, "other")
    assert status(less, whole) == {"ours": "same", "other": "missing"}
    assert status(whole, less) == {"ours": "same", "other": "new"}
    no_case = whole.model_copy(update={"cases": (), "absent": {"norms: all": "no C++ compiler"}})
    rows = judging.judge(no_case, whole)
    assert [(r.status, r.why) for r in rows] == [("missing", "no C++ compiler")] * 2


def test_another_reference_implementation_is_not_compared() -> None:
    whole = made.samples()
    case = whole.cases[0].model_copy(update={"reference": "ours"})
    rows = judging.judge(whole.model_copy(update={"cases": (case,)}), whole)
    assert {r.form: r.status for r in rows} == {"ours": "missing", "other": "new", "theirs": "new"}


def test_a_slower_row_counts_only_where_a_second_measurement_agrees() -> None:
    before = made.samples(noise=0.02)
    slow = changed(made.samples(noise=0.02, seed=1), 1.3)
    asked: list[str] = []

    def again(measured: Samples) -> list[str]:
        def measure(suspects: list[judging.Row]) -> Iterator[judging.Row]:
            asked.extend(r.form for r in suspects)
            yield from judging.judge(measured, before)

        return [r.status for r in judging.confirmed(judging.judge(slow, before), measure)]

    assert again(slow) == ["slower", "same"]
    assert asked == ["ours"]
    assert again(made.samples(noise=0.02, seed=2)) == ["same", "same"]
    # A second measurement that fails takes nothing back.
    assert again(made.without(made.samples(), "ours")) == ["slower", "same"]
    asked.clear()
    assert judging.confirmed(judging.judge(before, before), lambda s: iter(asked)) and not asked


# --- samples of a real machine ------------------------------------------------------------------------------


def test_a_row_whose_runs_differ_needs_more() -> None:
    def apart(samples: Samples, factor: float) -> Samples:
        case = samples.cases[0]
        runs = case.forms["ours"].runs
        ours = case.forms["ours"].model_copy(update={"runs": (*runs[:-1], tuple(s * factor for s in runs[-1]))})
        return samples.model_copy(
            update={"cases": (case.model_copy(update={"forms": {**case.forms, "ours": ours}}),)}
        )

    now = changed(made.samples(noise=0.02, seed=1), 1.3)
    before = made.samples(noise=0.02)
    assert status(now, apart(before, 1.0))["ours"] == "slower"
    assert status(now, apart(before, 1.25))["ours"] == "same"
    assert status(changed(now, 1.3), apart(before, 1.25))["ours"] == "slower"
    (row,) = (r for r in judging.judge(now, apart(before, 1.25)) if r.form == "ours")
    assert row.needs == pytest.approx(1.25 * judging.FACTOR, rel=0.04)


class Drawn(NamedTuple):
    """Two measurements, each one run with its rounds drawn again, and the other runs as their reference."""

    now: Samples
    again: Samples
    before: Samples

    def slower(self) -> bool:
        """What the command does: judge, and measure again what is slower."""
        rows = judging.confirmed(
            judging.judge(self.now, self.before), lambda rows: iter(judging.judge(self.again, self.before))
        )
        return any(row.status == "slower" for row in rows)


def drawn(
    reference: Samples, random_: random.Random, group: str = "", form: str = "", factor: float = 1.0
) -> Drawn:
    """Runs that the reference does not hold: runs differ by more than rounds do. One operator may be slowed."""
    case = reference.cases[0]
    numbers = random_.sample(range(len(case.forms[case.reference].runs)), 2)
    cases: list[list[CaseSamples]] = [[], [], []]
    for case in reference.cases:
        for kept, number in zip(cases, numbers, strict=False):
            rounds = len(case.forms[case.reference].runs[number])
            picks = random_.choices(range(rounds), k=rounds)
            new = made.with_runs(case, lambda runs, n=number, picks=picks: (tuple(runs[n][p] for p in picks),))
            slow = case.group == group and form in case.compared
            kept.append(made.with_form(new, form, lambda s: s * factor) if slow else new)
        rest = [n for n in range(len(case.forms[case.reference].runs)) if n not in numbers]
        cases[2].append(made.with_runs(case, lambda runs, rest=rest: tuple(runs[n] for n in rest)))
    return Drawn(*(reference.model_copy(update={"cases": tuple(c)}) for c in cases))


@pytest.mark.parametrize("path", REFERENCES, ids=lambda p: p.stem)
def test_a_planted_slow_down_is_found_and_none_is_invented(path: Path) -> None:
    """An operator is a form in all cases of its group; its slow-down is one in each of them."""
    reference = files.read(path)
    random_ = random.Random(0)
    operators = sorted({(c.group, form) for c in reference.cases for form in c.compared})
    found = alarms = 0
    for _ in range(RESAMPLINGS):
        alarms += drawn(reference, random_).slower()
        group, form = random_.choice(operators)
        only = files.part_of(reference, [group])
        found += drawn(only, random_, group, form, PLANTED).slower()
    assert found >= 0.95 * RESAMPLINGS, found
    assert alarms <= 0.01 * RESAMPLINGS, alarms

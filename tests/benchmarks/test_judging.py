"""The rule that calls a form slower: known ratios, and a real machine's samples with and without a change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

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


@pytest.mark.parametrize("path", REFERENCES, ids=lambda p: p.stem)
def test_a_planted_slow_down_is_found_and_none_is_invented(path: Path) -> None:
    """Rounds drawn again, for a run, from all that is stored; an operator is a form in all cases of its group.

    A run that is not stored may lie further out: there the command's second measurement decides, which no file has.
    """
    reference = files.read(path)
    rows = [(c, form, c.ratios(form)) for c in reference.cases for form in c.compared]
    level = judging.FALSE_ALARMS / len(rows)
    operators = sorted({(c.group, form) for c, form, _ in rows})
    random_ = random.Random(0)

    def slower(planted: tuple[str, str] | None) -> bool:
        drawn: dict[str, list[tuple[int, int]]] = {}
        for case, form, runs in rows:
            # A round is drawn whole, with all forms of its case.
            key = f"{case.group} {case.name}"
            if key not in drawn:
                rounds = [(r, n) for r, run in enumerate(runs) for n in range(len(run))]
                drawn[key] = random_.choices(rounds, k=len(runs[0]))
            factor = PLANTED if (case.group, form) == planted else 1.0
            now = [factor * runs[r][n] for r, n in drawn[key]]
            if judging.verdict(now, runs, level)[0] == "slower":
                return True
        return False

    alarms = sum(slower(None) for _ in range(RESAMPLINGS))
    found = sum(slower(random_.choice(operators)) for _ in range(RESAMPLINGS))
    assert alarms <= 0.01 * RESAMPLINGS, alarms
    assert found >= 0.95 * RESAMPLINGS, found

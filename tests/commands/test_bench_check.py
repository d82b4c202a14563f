"""``harness bench-check`` on files of samples, and what it says of a machine; nothing here is timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.benchmarks import alone, claim
from harness.benchmarks import samples as files
from harness.benchmarks.samples import CaseSamples, Form, Samples
from harness.exit_codes import NOTHING_COMPARED, OK, REGRESSION, USAGE
from tests.benchmarks import made
from tests.terminal import here


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with a reference of the family ``made``."""
    files.write(files.reference_path(tmp_path, "made"), made.samples())
    return tmp_path


def check(results: Path, samples: Samples, *words: str):
    path = results / "now.json"
    files.write(path, samples)
    return here("bench-check", "--results", results, "--samples", path, *words)


def slower(form: str = "ours") -> Samples:
    return made.with_seconds(made.samples(), lambda name, s: s * (1.3 if name == form else 1))


def test_a_slower_form_is_exit_4_and_an_equal_one_0(results: Path) -> None:
    fine = check(results, made.samples(seed=1))
    assert fine.exit_code == OK, fine.stdout
    assert "2 forms held against" in fine.stdout and "none slower" in fine.stdout
    wrong = check(results, slower())
    assert wrong.exit_code == REGRESSION
    assert "1 of 2 forms slower than every run of the reference by more than 1.15" in wrong.stdout
    (row,) = (line for line in wrong.stdout.splitlines() if line.strip().startswith("ours"))
    assert row.split()[-1] == "slower"
    assert "1.30" in row


def test_another_family_is_not_measured_here_and_exit_5(results: Path) -> None:
    other = check(results, made.samples().model_copy(update={"family": "elsewhere"}))
    assert other.exit_code == NOTHING_COMPARED
    assert "not measured here: there is no reference for elsewhere" in other.stdout
    assert "harness bench-check --update" in other.stdout
    named = check(results, made.samples().model_copy(update={"family": "elsewhere"}), "--reference", "made")
    assert named.exit_code == USAGE
    assert "measured on made, the samples on elsewhere" in named.stderr


def test_what_could_not_be_compared_is_exit_5_never_none_slower(results: Path) -> None:
    less = check(results, made.without(made.samples(seed=1), "other"))
    assert less.exit_code == NOTHING_COMPARED
    assert "missing: not measured here" in less.stdout and "1 could not be compared" in less.stdout
    both = check(results, made.without(slower(), "other"))
    assert both.exit_code == REGRESSION
    failed = made.samples().model_copy(update={"cases": (), "absent": {"norms: eager": "no compiler"}})
    nothing = check(results, failed)
    assert nothing.exit_code == NOTHING_COMPARED
    assert "nothing compared" in nothing.stdout and "not measured: norms: eager: no compiler" in nothing.stdout


def test_another_torch_is_compared_and_said(results: Path) -> None:
    other = check(results, made.samples(seed=1).model_copy(update={"machine": {"numerics_class": "torch 9"}}))
    assert other.exit_code == OK
    assert "was measured with made, these samples with torch 9" in " ".join(other.stderr.split())
    assert "was measured with" not in check(results, made.samples(seed=1)).stderr


def test_json_has_every_row_and_the_result(results: Path) -> None:
    shown = json.loads(check(results, slower(), "--json").stdout)
    assert {r["form"]: r["status"] for r in shown["rows"]} == {"ours": "slower", "other": "same"}
    assert shown["result"].startswith("1 of 2 forms slower") and shown["family"] == "made"
    assert {"ratio", "before", "moved", "p", "bytes", "flops", "share"} <= set(shown["rows"][0])


@pytest.mark.parametrize(("words", "said"), [
    (["--update"], "--update needs --reason"),
    (["--update", "--reason", "x", "--group", "norms"], "leave out --group"),
    (["--save", "here.json"], "leave out --save"),
    (["--group", "norm"], "Did you mean 'norms'"),
    (["--group", "ranks"], "it has no group 'ranks'; it has: norms; measure it with"),
    (["--reference", "../up"], "give the name of a file"),
])  # fmt: skip
def test_wrong_usage_says_what_to_do(results: Path, words: list[str], said: str) -> None:
    wrong = check(results, made.samples(), *words)
    assert wrong.exit_code == USAGE
    assert said in " ".join(wrong.stderr.split())


def test_the_device_must_be_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("harness.environment.missing_device", lambda device: "no CUDA device on this machine")
    wrong = here("bench-check", "--results", tmp_path, "--device", "cuda")
    assert wrong.exit_code == USAGE
    assert "no CUDA device" in wrong.stderr and "--device cpu" in wrong.stderr


# --- measuring and moving -----------------------------------------------------------------------------------


def whole(seed: int = 0) -> Samples:
    """All groups, each with one case; that of the claim with its forms."""
    one = made.samples(seed=seed).cases[0]
    cases = [one.model_copy(update={"group": g}) for g in alone.group_names() if g != claim.GROUP]
    return made.samples().model_copy(update={
        "groups": tuple(alone.group_names()), "cases": (*cases, contest(1.5, 1.2)),
    })  # fmt: skip


def contest(eager: float, compiled: float) -> CaseSamples:
    """DyT's seconds over RMSNorm's eager and compiled; RMSNorm is quickest as torch's."""
    seconds = {
        "rmsnorm": 1.0, "torch_rmsnorm": 0.5, "rmsnorm compiled": 0.8, "dyt": eager, "dyt compiled": 0.8 * compiled,
        "copy": 0.1,
    }  # fmt: skip
    forms = {n: Form(bytes=1, flops=1, runs=((s,) * 20,) * 2) for n, s in seconds.items()}
    return CaseSamples(group=claim.GROUP, name="8 x 4", reference="rmsnorm", ceiling="copy", forms=forms)


def test_the_reference_moves_with_its_page_and_its_reason(tmp_path: Path) -> None:
    path = files.reference_path(tmp_path, "made")
    moved = check(tmp_path, whole(), "--update", "--reason", "a new kernel")
    assert moved.exit_code == OK, moved.stderr
    assert files.read(path) == whole()
    assert "a new kernel" in (path.parent / "history.txt").read_text()
    page = path.with_suffix(".md").read_text()
    assert page.startswith("# Operators on made\n")
    assert "| 8 x 4 | eager | dyt | rmsnorm | 1.50 |" in page
    assert check(tmp_path, whole(seed=1)).exit_code == OK


def test_a_reference_is_never_moved_to_a_part(results: Path) -> None:
    path = files.reference_path(results, "made")
    before = path.read_bytes()
    part = check(results, made.samples(), "--update", "--reason", "x")
    assert part.exit_code == USAGE
    assert "these were not measured: codebooks (not asked for)" in " ".join(part.stderr.split())
    failed = whole().model_copy(update={"absent": {"norms: compiled dyt": "no compiler"}})
    assert "norms: compiled dyt (no compiler)" in " ".join(
        check(results, failed, "--update", "--reason", "x").stderr.split()
    )
    assert path.read_bytes() == before


def test_live_samples_are_kept_and_slower_ones_measured_again(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def measure(groups, device, rounds, runs=1, tell=None) -> Samples:
        asked.append(tuple(groups))
        return slower() if len(asked) == 1 or always else made.samples(seed=2)

    monkeypatch.setattr(files, "measure", measure)
    always, kept = False, results / "kept.json"
    words = ("bench-check", "--results", results, "--group", "norms", "--save", kept)
    first = here(*words)
    assert first.exit_code == OK
    assert "same: slower at first, not when measured again" in first.stdout
    assert asked == [("norms",), ("norms",)] and files.read(kept) == slower()
    always = True
    assert here(*words).exit_code == REGRESSION


# --- the claim ----------------------------------------------------------------------------------------------


def test_each_norm_is_held_to_its_fastest_form() -> None:
    eager, compiled, fastest = claim.contests(made.samples().model_copy(update={"cases": (contest(1.5, 0.9),)}))
    assert (eager.ratio, compiled.ratio) == pytest.approx((1.5, 0.9))
    assert (eager.answer, compiled.answer) == ("slower", "faster")
    # DyT compiled (0.72) against torch's RMSNorm (0.5): compiled alone would have flattered it.
    assert (fastest.dyt, fastest.rmsnorm) == ("dyt compiled", "torch_rmsnorm")
    assert fastest.ratio == pytest.approx(1.44) and fastest.answer == "slower"


def test_rounds_on_both_sides_of_one_leave_it_unresolved() -> None:
    case = contest(1.0, 1.0)
    case = case.model_copy(update={"forms": {
        **case.forms, "dyt": Form(bytes=1, flops=1, runs=((0.9,) * 4 + (1.1,) * 16,) * 2),
    }})  # fmt: skip
    found = claim.contests(made.samples().model_copy(update={"cases": (case,)}))
    assert found[0].answer == "unresolved" and found[0].spread == (0.9, 1.1)
    said = claim.in_words(found)
    assert "faster at 0, slower at 1, unresolved at 0 of 1" in said and "1.60 to 1.60 times as long" in said


def test_without_its_group_the_claim_is_not_measured() -> None:
    assert claim.contests(made.samples()) == []
    assert claim.in_words([]) == "DyT against RMSNorm: not measured here"

"""`harness regress` over a toy suite: sentinels run again, judged arm by arm; and moving the reference."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import yaml

from harness import regression, sentinels
from harness.commands import _running
from harness.errors import HarnessError
from harness.execution.jobs import Folders
from harness.workload import workload_module
from tests.commands.conftest import ToyExecutor
from tests.conftest import run_toy
from tests.terminal import here


class Head(ToyExecutor):
    """Runs toy trials by code that may have changed."""

    def __init__(self, change=lambda trial, metrics: {}):
        self.change, self.ran = change, []

    def run(self, jobs, folders, on_event):
        for job in jobs:
            self.ran.append(job.trial)
            record = run_toy(job.trial)
            yield job, record.model_copy(update=self.change(job.trial, record.metrics))


@pytest.fixture
def referenced(toy_run):
    """The toy run, its records committed as the reference."""
    done = here("regress", toy_run.file, "profile=smoke", "--results", toy_run.results, "--update", "--reason", "1")
    assert done.exit_code == 0, done.output
    return toy_run


@pytest.fixture
def regress(referenced, monkeypatch):
    """Runs the gate with this head."""

    def regress(head, *arguments):
        monkeypatch.setattr(_running, "executor", lambda name, **options: head)
        return here("regress", referenced.file, "profile=smoke", "--results", referenced.results, *arguments)

    return regress


def of(arm_optimizer, shift):
    """Losses of one optimizer shifted by ``shift(trial)``."""

    def change(trial, metrics):
        mine = trial.config["optimizer"]["name"] == arm_optimizer
        return {"metrics": {**metrics, "test_loss": metrics["test_loss"] + shift(trial)}} if mine else {}

    return change


def statuses(done):
    return {a["arm"]: a["status"] for a in json.loads(done.stdout)["arms"]}


def test_equal_bits_are_no_regression_and_one_seed_is_enough(regress):
    head = Head()
    done = regress(head)
    assert done.exit_code == 0, done.output
    said = "no regression: 3 arms held against the committed reference 'smoke', 3 bit-identical, 0 changed"
    assert said in done.stdout
    assert len({t.identity for t in head.ran}) == len(head.ran) <= 2 * 3
    assert len({t.seed for t in head.ran}) == 1
    assert set(statuses(regress(Head(), "--json")).values()) == {"identical"}


def test_the_records_that_are_stored_are_never_asked(regress, referenced):
    """A change of code shows although the store is full of records of before."""
    assert regress(Head(of("muon", lambda trial: 0.5 + 1e-3 * trial.seed))).exit_code == 4
    assert len(referenced.records()) > 0


def test_a_worse_arm_is_a_regression_by_three_seeds_and_the_others_are_identical(regress):
    head = Head(of("muon", lambda trial: 0.5 + 1e-3 * trial.seed))
    done = regress(head, "--json")
    assert done.exit_code == 4
    found = statuses(done)
    assert found["muon"] == "regression" and found["adamw"] == "identical"
    muon = {t.seed for t in head.ran if t.config["optimizer"]["name"] == "muon"}
    assert len(muon) == sentinels.SEEDS
    assert len({t.seed for t in head.ran if t.config["optimizer"]["name"] == "adamw"}) == 1
    said = json.loads(done.stdout)["arms"][0]
    assert said["status"] == "regression" and said["estimate"] == pytest.approx(0.5, abs=0.01)


def test_a_better_arm_and_a_rounding_fail_nothing(regress):
    assert statuses(regress(Head(of("muon", lambda t: -0.5 - 1e-3 * t.seed)), "--json"))["muon"] == "improvement"
    done = regress(Head(of("muon", lambda trial: 1e-12 * (-1) ** trial.seed)), "--json")
    assert done.exit_code == 0 and statuses(done)["muon"] in ("equivalent", "unresolved")


def test_another_ending_is_a_regression(regress):
    done = regress(Head(lambda trial, metrics: {"status": "diverged", "diverged_step": 3}))
    assert done.exit_code == 4 and "completed -> diverged" in done.stdout


def test_a_metric_declared_later_is_compared_without_an_edit_here(regress, monkeypatch):
    module = workload_module("toy")
    monkeypatch.setitem(module.METRICS, "flops", type(module.METRICS["flops"])(label="FLOPs", compared=True))
    done = regress(Head(lambda trial, metrics: {"metrics": {**metrics, "flops": 1.0}}))
    assert done.exit_code == 0 and "flops" in done.stdout and "0 bit-identical, 3 changed" in done.stdout


def test_what_did_not_run_is_never_no_regression(regress):
    class Nothing(Head):
        def run(self, jobs, folders, on_event):
            yield from ()

    done = regress(Nothing())
    assert done.exit_code == 5
    assert "nothing compared" in done.stdout and "no regression" not in done.stdout
    assert json.loads(regress(Nothing(), "--json").stdout)["compared"] == 0


@pytest.mark.parametrize(("shift", "code"), [(0.001, 0), (5.0, 4)])
def test_in_another_numerics_class_only_large_differences_are_called(regress, shift, code):
    def change(trial, metrics):
        return {"numerics_class": "other", "metrics": {**metrics, "test_loss": metrics["test_loss"] + shift}}

    done = regress(Head(change))
    assert done.exit_code == code, done.output
    assert ("only large differences show" in done.stdout) == (code == 0)
    assert "bit-identical" not in done.stdout


def test_the_forms_for_machines(regress, tmp_path):
    junit, page = tmp_path / "gate.xml", tmp_path / "gate.md"
    regress(Head(of("muon", lambda t: 0.5 + 1e-3 * t.seed)), "--junit", str(junit), "--markdown", str(page))
    suite = ElementTree.parse(junit).getroot()
    cases = {case.get("name"): case for case in suite}
    assert suite.get("failures") == "2" and cases["muon"].find("failure") is not None
    assert cases["adamw"].find("failure") is None
    text = page.read_text(encoding="utf-8")
    assert "| toy_suite | muon | **regression** |" in text and "What differs in bits" in text


def test_without_a_reference_nothing_is_compared_and_the_way_to_one_is_said(toy_run):
    done = here("regress", toy_run.file, "profile=smoke", "--results", toy_run.results)
    assert done.exit_code == 5, done.output
    assert "no committed reference 'smoke'" in done.stdout
    assert "nothing compared" in done.stdout and "harness regress --update --reason" in done.stdout


def edited(referenced, change):
    """The suite's file with a change of its content."""
    suite = yaml.safe_load(referenced.file.read_text())
    change(suite)
    referenced.file.write_text(yaml.safe_dump(suite))


def test_an_arm_that_the_suite_no_longer_has_is_missing_although_the_others_are_identical(regress, referenced):
    edited(referenced, lambda suite: suite["arms"].pop("moved"))
    done = regress(Head(), "--json")
    assert done.exit_code == 5
    assert statuses(done) == {"adamw": "identical", "muon": "identical", "moved": "missing"}
    assert "1 of 3 arms could not be compared" in json.loads(done.stdout)["result"]
    assert "the suite has no arm 'moved'" in done.stdout


def test_an_arm_without_a_reference_is_missing(regress, referenced):
    edited(referenced, lambda suite: suite["arms"].update(late={"optimizer": {"name": "adamw"}}))
    done = regress(Head(), "--json")
    assert done.exit_code == 5 and statuses(done)["late"] == "missing"
    assert "has no completed trial of it" in done.stdout


def test_a_size_that_did_not_run_is_missing_although_the_other_is_identical(regress):
    class Small(Head):
        def run(self, jobs, folders, on_event):
            small = [job for job in jobs if job.trial.config.get("model", {}).get("width", 8) == 8]
            yield from super().run(small, folders, on_event)

    done = regress(Small())
    assert done.exit_code == 5 and "1 of 2 sentinels have no result to compare" in done.stdout


def test_a_change_of_the_suites_text_is_a_change_that_is_run_and_named(regress, referenced):
    """The trial of today's suite runs, not the reference's: here one whose optimum lies elsewhere."""
    edited(referenced, lambda suite: suite["base"].update(best_log2_lr=-3.0))
    head = Head()
    done = regress(head)
    assert all(t.config["best_log2_lr"] == -3.0 for t in head.ran)
    assert done.exit_code == 4, done.output
    differences = json.loads(regress(head, "--json").stdout)["arms"][0]["differences"]
    assert differences[0].partition(" -> ")[2] in ("-3", "-3.0")
    assert "the suite asks otherwise: best_log2_lr" in differences[0]


def test_exact_fails_for_any_change_of_bits(regress):
    rounding = of("muon", lambda trial: 1e-12 * (-1) ** trial.seed)
    assert regress(Head(rounding)).exit_code == 0
    assert regress(Head(rounding), "--exact").exit_code == 4
    assert regress(Head(), "--exact").exit_code == 0


@pytest.mark.parametrize("name", ["../../outside", "..", "/tmp/outside", "a/b", ".hidden"])
@pytest.mark.parametrize("more", [(), ("--update", "--reason", "why")])
def test_a_reference_has_a_name_and_leads_nowhere_else(regress, referenced, name, more):
    before = files(referenced.results.parent)
    head = Head()
    done = regress(head, "--reference", name, *more)
    assert done.exit_code == 2 and f"reference {name!r}" in done.stderr and not head.ran
    assert files(referenced.results.parent) == before


@pytest.mark.parametrize("option", ["--junit", "--markdown"])
@pytest.mark.parametrize("place", ["missing/gate.out", "."])
def test_where_the_answer_cannot_be_written_is_said_before_anything_runs(regress, tmp_path, option, place):
    head = Head()
    done = regress(head, option, str(tmp_path / place))
    assert done.exit_code == 2 and str(tmp_path / place) in done.stderr and not head.ran


def test_two_gates_at_once_have_folders_of_their_own(regress):
    class Nested(Head):
        inner = None

        def run(self, jobs, folders, on_event):
            if Nested.inner is None:
                Nested.inner = ()
                folders.work.mkdir(parents=True)
                Nested.inner = regress(Nested())
                assert folders.work.is_dir(), "the other gate left it alone"
            yield from super().run(jobs, folders, on_event)

    assert regress(Nested()).exit_code == 0 and Nested.inner.exit_code == 0


def test_a_base_that_is_no_commit_is_said(tmp_path):
    with pytest.raises(HarnessError, match="--base 'no-such-commit'"):
        regression.at_commit("no-such-commit", Folders(data=tmp_path, work=tmp_path), tmp_path)


def update(run, reason=()):
    return here("regress", run.file, "profile=smoke", "--results", run.results, "--update", *reason)


def files(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_moving_the_reference_writes_inside_the_results_alone(toy_run):
    outside = toy_run.results.parent
    before = {p: b for p, b in files(outside).items() if toy_run.results not in p.parents}
    assert update(toy_run, ("--reason", "first")).exit_code == 0
    assert {p: b for p, b in files(outside).items() if toy_run.results not in p.parents} == before


def test_the_reference_moves_only_with_a_reason_that_is_kept(referenced):
    assert update(referenced).exit_code == 2
    assert update(referenced, ("--reason", "second")).exit_code == 0
    lines = (referenced.results / "reference" / "smoke" / "history.txt").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["1", "second"]


def test_the_reference_moves_only_to_a_finished_run(referenced):
    referenced.store.remove(referenced.records()[0])
    done = update(referenced, ("--reason", "unfinished"))
    assert done.exit_code == 2
    assert "1 trials have no record yet" in done.stderr

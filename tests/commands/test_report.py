"""`harness report` of one suite: by its name, or by the path of the file that was run."""

import json
import shutil

import pytest
import yaml

from tests.terminal import ROOT, here


def reported(toy_run, *words):
    done = here("report", *words, "profile=smoke", "--results", toy_run.results, "--json")
    assert done.exit_code == 0, done.stderr
    return [s["name"] for s in json.loads(done.stdout)["suites"]]


def test_a_suite_is_found_by_its_path_and_by_its_name(toy_run):
    assert toy_run.suite.key != toy_run.suite.name
    assert reported(toy_run, toy_run.file) == reported(toy_run, "toy_suite") == ["toy_suite"]


def test_another_file_of_that_name_is_not_taken_for_it(toy_run, tmp_path):
    other = tmp_path / "elsewhere" / toy_run.file.name
    other.parent.mkdir()
    shutil.copy(toy_run.file, other)
    done = here("report", other, "profile=smoke", "--results", toy_run.results)
    assert done.exit_code == 2 and "no run of suite 'toy_suite-" in done.stderr


# --- which profiles there are ------------------------------------------------------------------------------


def test_a_profile_that_was_not_run_is_answered_with_those_that_were(toy_run):
    done = here("report", "profile=gpu", "--results", toy_run.results)
    assert done.exit_code == 2
    assert "no run at profile 'gpu' (run here: smoke); run: harness run all profile=gpu" in done.stderr
    done = here("report", "toy_suite", "profile=gpu", "--results", toy_run.results)
    assert "no run of suite 'toy_suite' at profile 'gpu'" in done.stderr


def test_tracking_a_profile_that_was_not_run_names_those_that_were(toy_run):
    other = toy_run.file.with_name("other.yaml")
    other.write_text(toy_run.file.read_text().replace("smoke: {}", "{smoke: {}, cpu: {}}"))
    other.replace(toy_run.file)
    done = here("track", toy_run.file, "profile=cpu", "--results", toy_run.results)
    assert done.exit_code == 2
    assert "no run of toy_suite at profile 'cpu'; run here: toy_suite: smoke; give profile=P" in done.stderr
    done = here("track", toy_run.file, "profile=cpu", "--results", toy_run.results.parent / "empty")
    assert "profile 'cpu'; nothing has been run here" in done.stderr


def test_a_report_of_nothing_says_that_nothing_was_run(tmp_path):
    done = here("report", "profile=cpu", "--results", tmp_path / "results")
    assert "no run at profile 'cpu' (nothing has been run here)" in done.stderr


# --- the reference that comes with the source --------------------------------------------------------------


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A clone whose committed reference has one suite, at profile cpu."""
    folder = tmp_path / "clone" / "results"
    (folder / "reference" / "cpu").mkdir(parents=True)
    shutil.copy(ROOT / "results" / "reference" / "cpu" / "moe_dynamic_k.jsonl", folder / "reference" / "cpu")
    shutil.copy(ROOT / "results" / "registrations.jsonl", folder)
    monkeypatch.setattr("harness.sources.ROOT", folder.parent)
    return folder


def test_the_reference_of_the_source_is_found_from_any_folder(source, tmp_path, monkeypatch):
    from harness.records.reference import reference_store

    elsewhere = tmp_path / "elsewhere" / "results"
    assert reference_store(elsewhere, "cpu").root == source
    # One of its own comes first, for the profiles that it has.
    (elsewhere / "reference" / "smoke").mkdir(parents=True)
    (elsewhere / "reference" / "smoke" / "x.jsonl").touch()
    assert reference_store(elsewhere, "cpu").root == source
    assert reference_store(elsewhere, "smoke").root == elsewhere
    done = here("report", "profile=paper", "--reference", "--results", elsewhere)
    assert done.exit_code == 2
    assert "no committed reference at profile 'paper'; there is cpu, smoke: harness report" in done.stderr
    monkeypatch.setattr("harness.sources.ROOT", tmp_path)
    done = here("report", "profile=cpu", "--reference", "--results", tmp_path / "empty")
    assert "there is none; it comes with a clone of the source" in done.stderr


def test_a_report_of_the_reference_lies_where_its_reader_is(tmp_path):
    done = here("report", "moe_dynamic_k", "profile=cpu", "--reference", "--results", tmp_path / "results")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "results" / "report" / "cpu-reference" / "index.html").is_file()


# --- what the terminal says --------------------------------------------------------------------------------


def test_a_profile_without_verdicts_is_summed_up_a_line_a_suite(toy_run):
    file = toy_run.file
    claim = {"says": "Muon needs less.", "source": "here", "kind": "direction", "expects": {"below": 1},
             "estimator": {"name": "compute_ratio", "arm": "muon", "baseline": "adamw"}}  # fmt: skip
    content = {**yaml.safe_load(file.read_text()), "claims": {"one": claim, "two": claim}}
    file.write_text(yaml.safe_dump(content))
    done = here("report", "profile=smoke", "--results", toy_run.results)
    assert done.exit_code == 0, done.output
    first, *rest = done.stdout.splitlines()
    assert first.startswith("toy_suite: ") and " of 2 claims estimated" in first
    assert rest[0] == "This profile checks that everything runs: no claim gets a verdict."
    assert rest[1].startswith("report: ") and len(rest) == 2

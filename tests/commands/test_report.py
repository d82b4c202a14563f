"""`harness report` of one suite: by its name, or by the path of the file that was run."""

import json
import shutil

from tests.terminal import here


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

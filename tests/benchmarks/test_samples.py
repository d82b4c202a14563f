"""Files of raw samples: what is written is read, and what is not one says what is wrong and what to give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks import samples as files
from harness.errors import HarnessError, UnknownNameError
from harness.files import sealed
from tests.benchmarks import made


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    whole = made.samples()
    files.write(path, whole)
    assert files.read(path) == whole


def test_ratios_are_taken_within_a_round() -> None:
    case = made.samples().cases[0]
    case = made.with_form(case, "theirs", lambda s: 1.0)
    assert case.ratios("ours") == [list(run) for run in case.forms["ours"].runs]
    assert case.compared == ["ours", "other"]


def test_joined_files_have_the_runs_of_both_and_only_what_both_have() -> None:
    one, other = made.samples(runs=2), made.without(made.samples(seed=1, runs=3), "other")
    both = files.joined(one, other)
    assert [len(f.runs) for f in both.cases[0].forms.values()] == [5, 5, 5]
    assert both.cases[0].forms["ours"].runs[2:] == other.cases[0].forms["ours"].runs
    assert "other" not in both.cases[0].forms
    assert files.joined(one, other.model_copy(update={"cases": (), "absent": {"norms: all": "x"}})).cases == ()


def test_a_part_holds_only_its_groups() -> None:
    whole = made.samples().model_copy(update={"absent": {"ranks: all": "no"}, "groups": ("norms", "ranks")})
    part = files.part_of(whole, ["norms"])
    assert part.groups == ("norms",) and part.absent == {} and part.cases == whole.cases
    assert files.part_of(whole, ["ranks"]).cases == ()


# --- bad input ----------------------------------------------------------------------------------------------


def plain() -> dict[str, Any]:
    return json.loads(made.samples(rounds=2, runs=1).model_dump_json())


def broken(tmp_path: Path, value: dict[str, Any]) -> str:
    path = tmp_path / "s.json"
    path.write_text(sealed(value))
    with pytest.raises(HarnessError) as error:
        files.read(path)
    assert str(path) in str(error.value)
    assert "bench-check --save FILE" in str(error.value)
    return str(error.value)


def test_a_missing_group_is_named(tmp_path: Path) -> None:
    value = plain()
    value["groups"].append("ranks")
    assert "group 'ranks' is missing" in broken(tmp_path, value)


@pytest.mark.parametrize("seconds", [0, -1.0, 1e999])
def test_seconds_that_nobody_measured_are_refused(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "s.json"
    value = plain()
    value["cases"][0]["forms"]["ours"]["runs"][0][1] = seconds
    path.write_text(unchecked(value))
    with pytest.raises(HarnessError, match=r"s\.json: key 'cases\.0\.forms\.ours'.*numbers above 0"):
        files.read(path)


def test_nan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    value = plain()
    value["cases"][0]["forms"]["ours"]["runs"][0][1] = float("nan")
    path.write_text(unchecked(value))
    with pytest.raises(HarnessError, match=r"s\.json: .*numbers above 0: NaN"):
        files.read(path)


def unchecked(value: dict[str, Any]) -> str:
    """A file with a right checksum over what the harness never writes."""
    import hashlib

    body = json.dumps(value, separators=(",", ":"))
    return f'{{"sha256":"{hashlib.sha256(body.encode()).hexdigest()}",{body[1:]}\n'


def test_uneven_rounds_are_refused(tmp_path: Path) -> None:
    value = plain()
    value["cases"][0]["forms"]["ours"]["runs"][0].append(1.0)
    assert "every form needs the same rounds" in broken(tmp_path, value)
    value["cases"][0]["forms"]["ours"]["runs"] = []
    assert "every form needs the same rounds" in broken(tmp_path, value)


def test_a_case_without_its_divisor_or_there_twice_is_refused(tmp_path: Path) -> None:
    value = plain()
    del value["cases"][0]["forms"]["theirs"]
    assert "form 'theirs' is missing" in broken(tmp_path, value)
    value = plain()
    value["cases"] *= 2
    assert "is there twice" in broken(tmp_path, value)


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    assert "unknown key 'famly'" in broken(tmp_path, {**plain(), "famly": "x"})


def test_a_foreign_a_missing_and_an_altered_file_say_so(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    with pytest.raises(HarnessError, match=r"No such file.*--save FILE"):
        files.read(path)
    for text, said in {
        '{"benchmarks": []}\n': "does not begin with its checksum",
        "a,b\n": "not JSON",
        sealed(plain()).replace("made", "mode"): "not what its checksum says",
    }.items():
        path.write_text(text)
        with pytest.raises(HarnessError, match=said):
            files.read(path)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Upper", ".hidden", "a b"])
def test_a_references_name_is_one_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(HarnessError, match="give the name of a file"):
        files.reference_path(tmp_path, name)


def test_an_unknown_group_is_answered_with_a_close_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'norms'"):
        files.measure(["norm"], "cpu", 5)

"""The regression gate on a copy of the packages with a bug planted in it: caught on the arms that it reaches."""

import json
import shutil
import subprocess

import pytest
import yaml

from tests.terminal import ROOT, harness

ARMS = {
    "adamw": {"optimizer": {"name": "adamw", "lr": 0.01}},
    "muon": {"optimizer": {"name": "muon", "lr": 0.02}},
    "mup": {"optimizer": {"name": "adamw", "lr": 0.01}, "parametrization": {"name": "mup"}},
}
SUITE = {
    "title": "Small", "question": "Does the gate see it?", "workload": "language_model",
    "axes": {"width": {"path": "model.width", "values": [16, 24]}}, "arms": ARMS, "seeds": 3,
    "base": {
        "model": {"depth": 2, "head_width": 8, "context": 32, "base_width": 16},
        "training": {
            "steps": 60, "batch_size": 8, "evaluations": 1, "evaluation_tokens": 2048, "test_tokens": 8192,
            "schedule": "linear", "warmup_share": 0.0,
        },
        "compute": {"threads": 1},
    },
    "profiles": {"smoke": {}},
}  # fmt: skip
EVERY = set(ARMS)
BUGS = {
    "Muon without Nesterov": (
        "baselines/optimizers/muon.py", "            if kind.nesterov:\n", "            if False:\n", {"muon"},
    ),
    "an eps of .1 in RMSNorm": (
        "baselines/norms/rmsnorm.py", "    eps: float = 1e-6\n", "    eps: float = 1e-1\n", EVERY,
    ),
    "a scale rule off by sqrt 2": (
        "baselines/optimizers/muon.py", '"moonlight": lambda fan_out, fan_in: 0.2 *',
        '"moonlight": lambda fan_out, fan_in: 0.2 * 2**0.5 *', {"muon"},
    ),
    "a schedule off by one": (
        "harness/training.py", "    p = (step - warmup) /", "    p = (step + 1 - warmup) /", EVERY,
    ),
    "evaluation on the wrong split": (
        "harness/workloads/_language_task.py", "self.corpus.split(split)",
        'self.corpus.split("validation" if split == "test" else split)', EVERY,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def referenced(tmp_path_factory, text):
    """(suite's file, results) with a committed reference made by the code as it stands."""
    folder = tmp_path_factory.mktemp("gate")
    base = {**SUITE["base"], "data": {"path": text.partition("=")[2]}}
    file, results = folder / "small.yaml", folder / "results"
    file.write_text(yaml.safe_dump({**SUITE, "base": base}))
    words = [file, "profile=smoke", "--results", results]
    harness("run", *words, "--no-track", "--quiet")
    harness("regress", *words, "--update", "--reason", "first")
    shutil.rmtree(results / "runs")
    return file, results


@pytest.fixture
def copy(tmp_path):
    """A copy of the packages."""
    for package in ("harness", "baselines", "suites"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def gate(copy, referenced, *more):
    file, results = referenced
    words = [file, "profile=smoke", "--results", results, "--json", *more]
    done = harness("regress", *words, cwd=copy, env={"PYTHONPATH": str(copy)}, check=False)
    assert done.returncode in (0, 4), done.stderr
    found = json.loads(done.stdout)
    return done.returncode, {a["arm"]: a for a in found["arms"]}, found


def test_an_unchanged_copy_is_bit_identical_on_a_fresh_clone(copy, referenced):
    code, arms, found = gate(copy, referenced, "--exact")
    assert code == 0 and {a["status"] for a in arms.values()} == {"identical"}
    assert found["trials"] == 2 * len(ARMS), "one seed is enough where bits are equal"


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught_on_the_sentinels_that_it_reaches(copy, referenced, name):
    place, right, wrong, reached = BUGS[name]
    file = copy / place
    source = file.read_text(encoding="utf-8")
    assert source.count(right) == 1
    file.write_text(source.replace(right, wrong), encoding="utf-8")
    code, arms, found = gate(copy, referenced, "--exact")
    assert code == 4, "a change that should change nothing"
    assert {a for a, j in arms.items() if j["status"] != "identical"} == reached
    assert all(j["differences"] and j["status"] != "missing" for a, j in arms.items() if a in reached)
    assert "regressed" in found["result"] or f"{len(reached)} changed in bits" in found["result"]
    judged = {a: j["num_pairs"] for a, j in arms.items()}
    assert all(judged[a] == 2 for a in EVERY - reached), "one seed is enough where bits are equal"
    assert all(judged[a] in (2, 6) for a in reached)


def test_another_measure_after_the_same_training_fails_the_gate_by_one_seed(copy, referenced):
    place, right, wrong, _ = BUGS["evaluation on the wrong split"]
    file = copy / place
    file.write_text(file.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    code, arms, _ = gate(copy, referenced)
    assert code == 4 and all("the measure itself changed" in j["why"] for j in arms.values())


def test_against_a_base_commit_both_run_here_and_only_the_bug_differs(copy, referenced):
    """On whatever machine: nothing committed is compared, so its numerics class is no matter."""
    git = ["git", "-C", str(copy), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "base"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    code, arms, found = gate(copy, referenced, "--base", "HEAD")
    assert code == 0 and {a["status"] for a in arms.values()} == {"identical"}
    assert found["against"] == "commit HEAD on this machine"
    place, right, wrong, reached = BUGS["Muon without Nesterov"]
    file = copy / place
    file.write_text(file.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    _, arms, found = gate(copy, referenced, "--base", "HEAD")
    assert found["same_numerics_class"] and {a for a, j in arms.items() if j["status"] != "identical"} == reached

"""A round planned here, executed where only torch, numpy, pydantic and PyYAML are, and imported back."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import exchange
from harness.errors import HarnessError
from tests.test_end_to_end import ROOT, harness, text  # noqa: F401

BARE = ("torch", "numpy", "pydantic", "PyYAML")
WORDS = ["muon_scaling", "profile=smoke", "use.size=[d16]", "use.arm=[adamw]", "tuning.budget=2",
         "base.training.evaluation_tokens=1024", "base.training.test_tokens=1024"]  # fmt: skip


def requirements(names):
    """These distributions and all that they require here."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name.lower() in {f.lower() for f in found}:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(distribution.metadata["Name"])
        for line in distribution.requires or []:
            if "extra ==" not in line:
                todo.append(line.split(";")[0].split("[")[0].split("=")[0].split("<")[0].split(">")[0].split("!")[0]
                            .split("~")[0].split("(")[0].strip())  # fmt: skip
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder of packages that holds the four, what they require, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    for name in requirements(BARE):
        distribution = importlib.metadata.distribution(name)
        tops = {f.parts[0] for f in distribution.files or [] if f.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    return folder


def test_a_round_executes_on_a_bare_machine_and_comes_back(bare, text, tmp_path):  # noqa: F811
    results = tmp_path / "results"
    round_file = tmp_path / "round.json"
    harness("plan", *WORDS, text, "--results", results, "--export", round_file)
    code = (
        "import sys\n"
        "from harness import exchange\n"
        "code = exchange.main(sys.argv[1:])\n"
        "extra = {'pandas', 'hydra', 'optuna', 'typer', 'rich', 'mlflow', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {extra}' if extra else code)"
    )
    # -S: no site-packages, so only the bare folder and this checkout are importable.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(round_file), "--out", str(tmp_path / "out"),
         "--data", str(results / "data")],
        capture_output=True, text=True, env={"PYTHONPATH": f"{ROOT}{os.pathsep}{bare}", "OMP_NUM_THREADS": "1",
                                             "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2/2 completed" in done.stdout
    harness("execute", round_file, "--import", tmp_path / "out", "--results", results)
    plan = json.loads(harness("plan", *WORDS, text, "--results", results, "--json").stdout)[0]
    assert plan["done"] == 2
    assert plan["missing"] == 2  # the fresh seeds that follow


def test_pandas_is_not_importable_there(bare):
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import pandas"], capture_output=True, text=True, env={"PYTHONPATH": str(bare)}
    )
    assert "No module named 'pandas'" in done.stderr


@pytest.mark.parametrize(("content", "message"), [
    ("nonsense", "not a round written by"),
    ('{"format": 99, "jobs": []}', "round format 99, this version reads 2"),
    ('{"format": 2, "plugins": {}}', "not a round written by"),
])  # fmt: skip
def test_a_file_that_is_no_round_is_named(tmp_path, content, message):
    path = tmp_path / "round.json"
    path.write_text(content)
    with pytest.raises(HarnessError, match=message):
        exchange.read_round(path)


def test_importing_from_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(HarnessError, match="no records"):
        exchange.import_records(tmp_path, tmp_path / "results")

"""The wheel carries baselines, suites and data: installed elsewhere, the command works in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with only this project's wheel unpacked; dependencies come from the environment."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("harness", "baselines", "suites"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tree)
    target = tmp_path_factory.mktemp("installed")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target",
         str(target), str(tree)], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


def run(installed, cwd, *arguments):
    code = "import harness, sys; assert harness.__file__.startswith(sys.argv.pop(1)), harness.__file__\n" + (
        "from harness.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(installed), *arguments], capture_output=True, text=True, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_ships_is_listed(installed, tmp_path):
    out = run(installed, tmp_path, "list")
    for name in ("muon_scaling", "mup_transfer", "effective_rank", "torch_muon", "rmsnorm", "svd_entropy"):
        assert name in out
    assert (installed / "suites" / "published").is_dir()
    assert list((installed / "harness" / "report" / "templates").iterdir())
    assert (installed / "harness" / "data" / "python_sources.tsv.xz").is_file()


def test_a_suite_runs_and_results_lie_under_the_current_folder(installed, tmp_path):
    (tmp_path / "mine.txt").write_text("\n".join(p.read_text() for p in sorted((ROOT / "harness").rglob("*.py"))))
    run(
        installed, tmp_path, "run", "muon_scaling", "profile=smoke", "base.data.path=mine.txt", "--no-track",
        "use.size=[d16]", "use.arm=[adamw]", "base.training.evaluation_tokens=1024",
        "base.training.test_tokens=1024",
    )  # fmt: skip
    run(installed, tmp_path, "report", "profile=smoke")
    assert (tmp_path / "results" / "report" / "smoke" / "index.html").is_file()

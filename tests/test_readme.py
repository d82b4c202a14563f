"""What the README shows works: its method, its suite, its commands and options, its ledger."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import contracts, exit_codes, registry
from harness.planning import compose

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted({
    " ".join(line.split("#")[0].split())
    for line in re.findall(r"^    ((?:harness|python -m harness) .+)$", README, re.MULTILINE)
})  # fmt: skip


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.usefixtures("clean_registry")
def test_the_method_of_the_readme_keeps_the_contract(tmp_path):
    (code,) = blocks("python")
    path = tmp_path / "sign_sgd.py"
    path.write_text(code)
    registry.load_plugin(path)
    assert contracts.check_method("optimizer", "sign_sgd") == []


def test_the_suite_of_the_readme_loads(tmp_path):
    text, _ = blocks("yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert compose.load(str(path), "cpu").base["training"]["tokens_per_parameter"] == 10


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_options_exist(command):
    words = command.split()
    words = words[words.index("harness") + 1 :]
    depth = 2 if words[0] == "data" else 1
    shown = subprocess.run(
        [sys.executable, "-m", "harness", *words[:depth], "--help"], capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    for option in (w for w in words if w.startswith("--")):
        assert option in shown.stdout, f"{command}: no option {option}"


@pytest.mark.parametrize("override", re.findall(r"(?:arms|base)\.[a-z_.]+=[\w.]+", README))
def test_overrides_are_accepted(override):
    compose.load("muon_scaling", "cpu", [override])


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)", README):
        assert f"\n{target}:" in makefile, target


PATH = re.compile(r"`((?:harness|baselines|suites|tests|results)/[\w/.]*)`")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_paths_that_a_page_names_exist(page):
    found = PATH.findall((ROOT / page).read_text(encoding="utf-8"))
    assert found
    for path in found:
        assert (ROOT / path).exists(), f"{page}: {path}"


def test_contributing_knows_every_room():
    """Each file and folder of the package stands in the drawing of the house."""
    drawing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where things are")[2]
    drawing = drawing.partition("\n## ")[0]
    for room in (ROOT / "harness").glob("[!_]*"):
        assert re.search(rf"\b{room.stem}\b", drawing), room.name
    for path in re.findall(r"^ {4,6}(\w[\w./]*/|\w+\.py)\b", drawing, re.MULTILINE):
        assert (ROOT / path).exists() or (ROOT / "harness" / path).exists(), path


def test_exit_codes_are_those_of_the_command():
    text = " ".join(README.split())
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"{code} {meaning}" in text


def test_the_ledger_is_current():
    """The block is what `make readme` writes from the committed reference."""
    from harness.report import readme

    if not list((ROOT / "results" / "reference" / readme.PROFILE).glob("*.jsonl")):
        pytest.skip("no committed reference yet")
    shown = README.partition(readme.BEGIN)[2].partition(readme.END)[0].strip()
    assert shown == readme.block(readme.reference_claims(ROOT / "results")).strip()
    assert (ROOT / "results" / "reference" / readme.PROFILE / readme.FIGURE).is_file()

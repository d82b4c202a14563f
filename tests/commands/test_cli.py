"""The command line as a whole: every file is a command, and help says only what is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from harness import commands as package
from harness import exit_codes
from tests.terminal import ROOT, commands, harness, here

COMMANDS = dict(commands())
OPTIONS = {
    name: {o for p in command.params for o in [*p.opts, *p.secondary_opts] if o.startswith("--")} | {"--help"}
    for name, command in COMMANDS.items()
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]{2,}")
SPOKEN = re.compile(r"(?:python -m )?harness ((?:data )?[a-z-]+)\b([^`\n]*)")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOREIGN = re.compile(r"(?:mlflow ui|pip install|python -m harness\.)[^`\n]*")
"""Other programs' options."""


def leaves():
    return {name: c for name, c in COMMANDS.items() if not hasattr(c, "commands")}


def named_options(text, own=None):
    """(command or None, option) of every option that a text names: after a command, of it; else of ``own``."""
    text = FOREIGN.sub("", text)
    for found in SPOKEN.finditer(text):
        if found[1] in OPTIONS:
            yield from ((found[1], o) for o in OPTION.findall(found[2]))
    rest = SPOKEN.sub(lambda m: "" if m[1] in OPTIONS else m[0], text)
    yield from ((own, o) for o in OPTION.findall(rest))


def wrong_options(text, own=None):
    """Options named in a text that the app does not have."""
    every = set().union(*OPTIONS.values())
    return [(c, o) for c, o in named_options(text, own) if o not in (every if c is None else OPTIONS[c])]


def help_of(command):
    parts = [command.help, command.epilog, *(getattr(p, "help", None) for p in command.params)]
    return "\n".join(p for p in parts if p)


def test_every_file_is_a_command_and_every_command_a_file():
    folder = Path(package.__path__[0])
    files = {
        " ".join([*f.relative_to(folder).parent.parts, f.stem.rstrip("_").replace("_", "-")])
        for f in folder.rglob("*.py")
        if not f.name.startswith("_")
    }
    assert set(leaves()) == files
    assert {"run", "report", "regress", "data build", "data import"} <= files


@pytest.mark.parametrize("name", leaves())
def test_help_has_a_sentence_an_example_and_the_exit_codes(name):
    shown = here(*name.split(), "--help")
    assert shown.exit_code == 0
    text = " ".join(shown.stdout.split())
    assert re.match(rf"Usage: \S+ {name} ", text)
    first = COMMANDS[name].help.partition("\n\n")[0]
    assert first[0].isupper() and first.rstrip().endswith("."), first
    assert f"Example: harness {name}" in text
    for code in exit_codes.ALWAYS:
        assert f"{code} {exit_codes.MEANINGS[code]}" in text


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - set(leaves())))
def test_a_list_of_commands_says_whole_sentences_and_an_example(name):
    shown = here(*name.split(), "--help").stdout
    _, _, listed = shown.partition("Commands:\n")
    assert listed and "..." not in listed.partition("\n\n")[0]
    for child in COMMANDS[name].commands.values():
        first = re.split(r"(?<=\.)\s", child.help)[0]
        assert " ".join(first.split()) in " ".join(listed.split())
    assert re.search(r"(Example|overrides): harness ", shown)


@pytest.mark.parametrize("name", leaves())
def test_every_parameter_is_explained(name):
    for parameter in COMMANDS[name].params:
        if parameter.name != "help" and not (name == "compare" and parameter.name == "words"):
            assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


@pytest.mark.parametrize(("name", "code"), [
    ("run", exit_codes.TRIAL_FAILED), ("execute", exit_codes.TRIAL_FAILED), ("compare", exit_codes.TRIAL_FAILED),
    ("report", exit_codes.REGRESSION), ("regress", exit_codes.REGRESSION),
    ("regress", exit_codes.NOTHING_COMPARED),
])  # fmt: skip
def test_a_command_that_can_return_a_code_says_so(name, code):
    assert f"{code} {exit_codes.MEANINGS[code]}" in " ".join(here(name, "--help").stdout.split())


def codes_in(tree):
    """Names of exit codes that this code mentions."""
    known = {name for name in vars(exit_codes) if name.isupper()}
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & known


def test_no_entry_and_no_signal_ends_with_a_number_of_its_own():
    """A bare machine's ``execute`` and an interrupted run exit as the commands do."""
    root = Path(exit_codes.__file__).parent
    main = next(
        n for n in ast.walk(ast.parse((root / "exchange.py").read_text()))
        if isinstance(n, ast.FunctionDef) and n.name == "main"
    )  # fmt: skip
    assert codes_in(main) == {"OK", "TRIAL_FAILED", "USAGE"}
    returned = {c.value for n in ast.walk(main) if isinstance(n, ast.Return) for c in ast.walk(n)
                if isinstance(c, ast.Constant)}  # fmt: skip
    assert not returned
    assert not [f for f in root.rglob("*.py") if "128 +" in f.read_text()]


def test_exit_codes_come_from_one_place():
    """No command ends with a number of its own, and all codes that its file mentions are among those it says."""
    for file in Path(package.__path__[0]).rglob("[!_]*.py"):
        tree = ast.parse(file.read_text())
        (said,) = (n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "EXITS")
        assert codes_in(tree) <= codes_in(said) | {"OK", "USAGE"}, file
        for node in ast.walk(tree):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant):
                assert not isinstance(node.value.value, int), file


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_only_options_that_are_there(name):
    assert wrong_options(help_of(COMMANDS[name]), name if name in leaves() else None) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_pages_name_only_options_that_are_there(page):
    assert wrong_options(page.read_text(encoding="utf-8")) == []


def strings_of(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        # A sentence, not an argument handed to another program.
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def test_messages_and_documentation_name_only_options_that_are_there():
    """Every string of the package: what an error tells a user to type exists."""
    found = {
        str(file.relative_to(ROOT)): wrong
        for file in (ROOT / "harness").rglob("*.py")
        for text in strings_of(file)
        if (wrong := wrong_options(text))
    }
    assert not found


def test_an_option_that_is_not_there_is_found():
    assert wrong_options("see --list-estimators") == [(None, "--list-estimators")]
    assert wrong_options("`harness plan --export r.json`, then `harness plan --track`") == [("plan", "--track")]
    assert wrong_options("--import RECORDS", "execute") == []
    assert wrong_options("mlflow ui --backend-store-uri x") == []


def test_version():
    assert here("--version").stdout.split()[-1] == version("method-harness")


def test_unknown_command_and_option_suggest_and_exit_2():
    assert here("repotr").exit_code == 2
    wrong = here("report", "--referense")
    assert wrong.exit_code == 2
    assert "--reference" in wrong.stderr


def test_assembling_the_commands_imports_nothing_heavy():
    heavy = {"torch", "pandas", "numpy", "scipy", "hydra", "pydantic", "rich", "mlflow", "optuna", "yaml"}
    code = f"import sys, harness.cli; sys.exit(', '.join({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_the_command_line_is_small():
    assert len((ROOT / "harness" / "cli.py").read_text().splitlines()) <= 100


def test_python_dash_m_is_the_same_command():
    assert "Usage: harness" in harness("--help").stdout

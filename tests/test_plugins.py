"""Plug-ins whose names could be taken for one another: told apart or refused, never one's code under another's."""

import os
import re
import subprocess
import sys

import pytest

from harness import plugins, registry, sources
from harness.errors import PluginError
from harness.methods.construct import build

pytestmark = pytest.mark.usefixtures("clean_registry")

RANK = '''
"""A rank."""
from dataclasses import dataclass
from harness.registry import register
{imports}

@register("rank"{name})
@dataclass(frozen=True, kw_only=True)
class Mine:
    scale: float = {value}
'''


@pytest.fixture
def write(tmp_path):
    def write(file, imports="", value="1.0", name=""):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RANK.format(imports=imports, value=value, name=f', name="{name}"' if name else ""))
        return path

    return write


def scale(name):
    return build("rank", {"name": name}).scale


def refused(path, message):
    with pytest.raises(PluginError, match=message):
        registry.load_plugin(path)


def test_two_plugins_of_one_file_name_are_refused_whatever_they_register(write):
    registry.load_plugin(write("a/mine.py", value="1.0"))
    second = write("b/mine.py", value="2.0", name="other")
    refused(second, r"b/mine\.py: another plug-in of this file name is loaded, .*a/mine\.py")
    assert scale("mine") == 1.0 and not [e for e in registry.entries("rank") if e.name == "other"]


def test_two_plugins_of_one_method_name_are_refused(write):
    registry.load_plugin(write("a.py", name="same"))
    second = write("b.py", name="same", value="2.0")
    refused(second, r"b\.py: rank 'same' is offered by plug-in .*a\.py, too; rename")
    assert scale("same") == 1.0


def test_two_classes_of_one_name_in_one_file_are_refused(write):
    path = write("mine.py")
    path.write_text(path.read_text() + path.read_text().replace("1.0", "2.0"))
    refused(path, r"Mine and Mine are both rank 'mine'; give one another name")


def test_helpers_of_one_name_beside_different_plugins_are_refused_unless_they_are_the_same(write, tmp_path):
    for folder, value in (("a", 1.0), ("b", 2.0), ("c", 1.0)):
        path = write(f"{folder}/{folder}_rank.py", imports="from shared import SCALE", value="SCALE")
        (path.parent / "shared.py").write_text(f"SCALE = {value}\n")
    registry.load_plugin(tmp_path / "a/a_rank.py")
    refused(
        tmp_path / "b/b_rank.py", r"b_rank\.py: imports 'shared' from its folder, and .*a_rank\.py imports another"
    )
    registry.load_plugin(tmp_path / "c/c_rank.py")
    assert scale("a_rank") == scale("c_rank") == 1.0


@pytest.mark.parametrize("name", ["json", "numpy"])
def test_a_helper_that_is_named_like_another_module_is_refused(write, name):
    path = write("mine.py", imports=f"import {name}")
    (path.parent / f"{name}.py").write_text("")
    refused(path, rf"imports '{name}', which lies in its folder and is a module of that name elsewhere, too")


def test_a_file_beside_it_that_it_does_not_import_is_no_helper(write):
    path = write("mine.py")
    (path.parent / "json.py").write_text("1 / 0")
    registry.load_plugin(path)
    assert set(plugins.read(path).files) == {"mine.py"}


@pytest.mark.parametrize(("file", "better"), [("mine.v2.py", "mine_v2.py"), ("mine.txt", "mine.py")])
def test_a_name_that_is_no_modules_is_refused(write, file, better):
    refused(write(file), re.escape(f"a method is named by its file; rename it, e.g. {better}"))


def test_a_plugin_called_like_a_package_beside_it_is_not_taken_for_it(write):
    path = write("mine.py", imports="from mine.parts import SCALE", value="SCALE")
    (path.parent / "mine").mkdir()
    (path.parent / "mine" / "__init__.py").write_text("")
    (path.parent / "mine" / "parts.py").write_text("SCALE = 3.0\n")
    registry.load_plugin(path)
    assert scale("mine") == 3.0


def test_a_helpers_class_does_not_answer_for_a_baseline(write):
    path = write("mine.py", imports="import stable_rank")
    (path.parent / "stable_rank.py").write_text(RANK.format(imports="", name="", value="9.0"))
    registry.load_plugin(path)
    assert registry.method_class("rank", "stable_rank").__module__ == "baselines.ranks.stable_rank"


def test_packages_helpers_and_lazy_imports_resolve_beside_the_plugin(write):
    path = write("mine.py", value="1.0")
    path.write_text(
        path.read_text() + "    def late(self):\n        from helpers.deep import VALUE\n        return VALUE\n"
    )
    (path.parent / "helpers").mkdir()
    (path.parent / "helpers" / "deep.py").write_text("from .deeper import VALUE\n")
    (path.parent / "helpers" / "deeper.py").write_text("VALUE = 5\n")
    assert set(plugins.read(path).files) == {"mine.py", "helpers/deep.py", "helpers/deeper.py"}
    registry.load_plugin(path)
    assert build("rank", {"name": "mine"}).late() == 5


def test_a_copy_is_read_back_and_an_altered_one_refused(write, tmp_path):
    path = write("mine.py", imports="import beside")
    (path.parent / "beside.py").write_text("SIZE = 1\n")
    plugin = plugins.read(path)
    for _ in range(2):
        plugins.write_copy(plugin, tmp_path / "copies")
    again = plugins.read_copy(tmp_path / "copies", "mine.py", plugin.digest)
    assert again.files == plugin.files and again.digest == plugin.digest
    (tmp_path / "copies" / plugin.digest / "beside.py").write_text("SIZE = 2\n")
    with pytest.raises(PluginError, match=r"not the copy of plug-in mine\.py that its name says"):
        plugins.read_copy(tmp_path / "copies", "mine.py", plugin.digest)


def test_a_plugin_that_fails_leaves_no_name_behind(write):
    path = write("mine.py", imports="import beside\n1 / 0")
    (path.parent / "beside.py").write_text("SIZE = 1\n")
    refused(path, "ZeroDivisionError")
    assert not [m for m in sys.modules if m == "beside" or m.endswith("_mine")]
    path.write_text(path.read_text().replace("1 / 0", ""))
    registry.load_plugin(path)


@pytest.mark.parametrize("shadow", ["package", "folder"])
def test_folders_called_baselines_and_suites_here_are_not_taken_for_those_that_ship(tmp_path, shadow):
    for name in ("baselines", "suites"):
        (tmp_path / name / "optimizers").mkdir(parents=True)
        (tmp_path / name / "mine.yaml").write_text("")
        for folder in (name, f"{name}/optimizers") if shadow == "package" else ():
            (tmp_path / folder / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
        (tmp_path / name / "optimizers" / "adamw.py").write_text("raise SystemExit('the wrong method')\n")
    environment = {**os.environ, "PYTHONPATH": str(sources.ROOT)}
    for words in (["list"], ["show", "muon_scaling", "profile=smoke"]):
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "muon_scaling" in done.stdout and "wrong" not in done.stdout + done.stderr
    code = "from harness import registry; print(registry.method_class('optimizer', 'adamw').__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "baselines.optimizers.adamw", done.stderr

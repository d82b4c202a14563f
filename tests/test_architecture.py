"""Which file may import which: no circle, and arrows that run one way (function-level imports count)."""

import ast
import statistics
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent
NEVER: Mapping[str, tuple[str, ...]] = {
    "harness.analysis": (
        "torch",
        "hydra",
        "mlflow",
        "optuna",
        "baselines",
        "harness.planning",
        "harness.execution",
        "harness.report",
        "harness.commands",
        "harness.cli",
        "harness.runner",
        "harness.exchange",
    ),
    "harness.report": ("torch", "hydra", "mlflow", "optuna", "baselines", "harness.commands", "harness.execution"),
}
"""Package -> what none of its files may import."""
UPPER: Mapping[str, tuple[str, ...]] = {
    "benchmarks": (),
    "records": (),
    "analysis": ("records",),
    "execution": ("records",),
    "planning": ("analysis", "records"),
    "report": ("analysis", "planning", "records"),
    "runner": ("execution", "planning", "records"),
    "rounds": ("execution", "records"),
    "sentinels": ("analysis", "planning", "records"),
    "regression": ("analysis", "execution", "planning", "records", "rounds", "runner", "sentinels"),
    "exchange": ("execution", "planning", "records", "rounds", "runner"),
    "commands": (
        "analysis", "benchmarks", "exchange", "execution", "planning", "records", "regression", "report", "runner",
    ),
    "cli": ("commands",),
    "__main__": ("cli", "exchange"),
}
"""Room of the upper half -> rooms of the upper half that it may import; all of them may import the lower half."""
ONLY: Mapping[str, tuple[str, ...]] = {
    "hydra": ("harness.planning.hydra",),
    "omegaconf": ("harness.planning.hydra",),
    "mlflow": ("harness.records.tracking",),
    "optuna": ("harness.planning.tuning", "harness.records.studies"),
    "ray": ("harness.execution.executors.ray",),
    "typer": ("harness.commands.", "harness.cli"),
    "rich": ("harness.commands.",),
}
"""Package of others -> what the modules that know it begin with."""
SEAMS = ("harness.registry", "harness.methods", "harness.errors")
"""What a baseline may import of the harness."""


def module_of(file: Path, root: Path) -> str:
    parts = [root.name, *file.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path, module: str) -> Iterator[str]:
    """Absolute names of what a file imports, wherever in the file it does."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, base] if base else up)
            # A name may be a module of its package or something in it.
            yield from (f"{base}.{a.name}" for a in node.names)


def imports_of(root: Path) -> dict[str, set[str]]:
    """Module -> absolute names that it imports, for every file below ``root``."""
    return {
        (module := module_of(file, root)): set(imported(file, module)) for file in sorted(root.rglob("*.py"))
    }


def graph_of(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Module -> modules of the same tree that it imports."""

    def resolve(name: str) -> str | None:
        while name and name not in imports:
            name = name.rpartition(".")[0]
        return name or None

    return {m: {r for n in names if (r := resolve(n)) is not None and r != m} for m, names in imports.items()}


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Groups of modules each of which reaches all others of its group."""

    @cache
    def reach(start: str) -> frozenset[str]:
        seen: set[str] = set()
        todo = list(graph[start])
        while todo:
            module = todo.pop()
            if module not in seen:
                seen.add(module)
                todo.extend(graph[module])
        return frozenset(seen)

    found: list[set[str]] = []
    for module in graph:
        group = {other for other in reach(module) if module in reach(other)}
        if len(group) > 1 and group not in found:
            found.append(group)
    return found


def test_no_file_imports_in_a_circle():
    assert not [sorted(c) for c in circles(graph_of(imports_of(ROOT)))]


@pytest.mark.parametrize("package", NEVER)
def test_arrows_run_one_way(package):
    broken = [
        f"{module} imports {name}"
        for module, names in imports_of(ROOT).items()
        if module == package or module.startswith(f"{package}.")
        for name in sorted(names)
        for never in NEVER[package]
        if name == never or name.startswith(f"{never}.")
    ]
    assert not broken


def test_a_circle_is_found_however_it_is_hidden(tmp_path):
    root = tmp_path / "house"
    (root / "rooms").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "rooms/__init__.py": "",
        "rooms/one.py": "from house.rooms import two\n",
        "rooms/two.py": "def f():\n    from house.rooms.three import THING\n",
        "rooms/three.py": "from .one import x\n",
        "rooms/four.py": "from house.rooms.one import x\nimport json\n",
    }.items():
        (root / name).write_text(text)
    found = circles(graph_of(imports_of(root)))
    assert found == [{"house.rooms.one", "house.rooms.two", "house.rooms.three"}]


# --- rooms and their sizes ----------------------------------------------------------------------------------


def room_of(module: str) -> str:
    """``harness.analysis.means`` -> ``analysis``."""
    return module.split(".")[1] if "." in module else ""


def arrows(imports: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """(module, room that it imports) of every import that leaves a room."""
    for module, targets in graph_of(imports).items():
        for target in sorted(targets):
            if room_of(target) not in ("", room_of(module)):
                yield module, room_of(target)


def not_allowed(imports: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """Arrows into the upper half that UPPER does not have: the lower half has none."""
    return {(m, room) for m, room in arrows(imports) if room in UPPER and room not in UPPER.get(room_of(m), ())}


def test_rooms_import_only_what_lies_below_them():
    assert not not_allowed(imports_of(ROOT))


def test_an_arrow_upwards_is_found():
    wrong = {
        "harness.training": {"harness.records.store.Store"},
        "harness.planning.plan": {"harness.execution.jobs.Job", "harness.records.record"},
        "harness.records.store": set(),
        "harness.records.record": set(),
        "harness.execution.jobs": {"harness.training"},
    }
    assert not_allowed(wrong) == {("harness.training", "records"), ("harness.planning.plan", "execution")}


def test_every_room_of_the_table_is_there():
    rooms = {file.stem for file in ROOT.iterdir()}
    assert set(UPPER) <= rooms
    assert {room for below in UPPER.values() for room in below} <= set(UPPER)


@pytest.mark.parametrize("package", ONLY)
def test_other_peoples_packages_have_one_door(package):
    strangers = [
        module
        for module, names in imports_of(ROOT).items()
        if any(n == package or n.startswith(f"{package}.") for n in names) and not module.startswith(ONLY[package])
    ]
    assert not strangers


def test_no_file_imports_a_baseline_and_a_baseline_only_the_seams():
    assert not [m for m, names in imports_of(ROOT).items() if any(n.startswith("baselines") for n in names)]
    for module, names in imports_of(ROOT.parent / "baselines").items():
        of_the_house = {n for n in names if n.startswith("harness")}
        assert not [n for n in of_the_house if not n.startswith(SEAMS)], module


def lines_of(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def test_files_are_rooms_not_halls():
    sizes = {module_of(f, ROOT): n for f in ROOT.rglob("*.py") if (n := lines_of(f))}
    assert not [m for m, n in sizes.items() if n > 500]
    assert statistics.median(sizes.values()) <= 160


def test_no_test_imports_from_another():
    """What tests share lies in a conftest or a helper module."""
    tests = Path(__file__).parent
    borrowed = [
        f"{file.relative_to(tests)}: {name}"
        for file in tests.rglob("*.py")
        for name in imported(file, module_of(file, tests))
        if any(part.startswith("test_") for part in name.split(".")[:-1])
    ]
    assert not borrowed

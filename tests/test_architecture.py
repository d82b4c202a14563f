"""Which file may import which: no circle, and arrows that run one way (function-level imports count)."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent
UNMENDED = ("harness.data", "harness.workloads")
"""Packages in which files still import each other in a circle; no line is ever added here."""
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


def excused(circle: set[str]) -> bool:
    """Whether a circle lies within one package that is still to be mended."""
    return any(all(m == p or m.startswith(f"{p}.") for m in circle) for p in UNMENDED)


def test_no_file_imports_in_a_circle():
    assert not [sorted(c) for c in circles(graph_of(imports_of(ROOT))) if not excused(c)]


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
    assert not excused(found[0])
    assert not excused({"harness.analysis.claims", "harness.analysis.result"})

"""First-party source files: where they lie, what they import, and which bytes of them this process executes.

A process that runs trials calls ``keep_what_is_read``: from then on each file is read once, and both what is
executed and what a fingerprint digests are those bytes, however the file is edited meanwhile.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages that ship."""
PACKAGES = ("harness", "baselines", "suites")

_kept: dict[Path, bytes] = {}
_keeping = False


def read(file: Path) -> bytes:
    """The bytes that this process executes of this file; as it lies on disk if it executes none."""
    content = _kept.get(file)
    if content is None:
        content = file.read_bytes()
        if _keeping:
            _kept[file] = content
    return content


def keep(file: Path, content: bytes) -> None:
    """From now on this process executes these bytes of the file."""
    _kept[file] = content


def changed() -> list[str]:
    """Kept files that lie on disk with another content now, or no more."""

    def differs(file: Path, content: bytes) -> bool:
        try:
            return file.read_bytes() != content
        except OSError:
            return True

    return sorted(str(file) for file, content in _kept.items() if differs(file, content))


def keep_what_is_read() -> None:
    """Import the packages that ship from ROOT, by kept bytes and never from a cache of compiled code."""
    global _keeping
    if not _keeping:
        _keeping = True
        sys.meta_path.insert(0, _Finder())


class KeptLoader(SourceFileLoader):
    """Compiles what ``read`` gives: a cache is valid by time and size, which an edit may leave as they were."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(read(Path(path)), path)


class _Finder:
    """Finds the packages that ship beside this file, whatever the current directory holds."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(name, [str(ROOT)] if path is None else path)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return spec
        file = str(spec.origin)
        return importlib.util.spec_from_file_location(
            name, file, loader=KeptLoader(name, file),
            submodule_search_locations=spec.submodule_search_locations,
        )  # fmt: skip


def shipped(package: str) -> Path:
    """The folder of a package that ships, wherever Python would look for its name."""
    return ROOT / package


def own_package(package: str) -> None:
    """See that this name means the package that ships, not a folder of that name in the current directory."""
    found = sys.modules.get(package)
    if found is not None and Path(str(found.__file__)).parent == shipped(package):
        return
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        del sys.modules[name]
    file = shipped(package) / "__init__.py"
    spec = importlib.util.spec_from_file_location(package, file, submodule_search_locations=[str(file.parent)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)


def imported_names(tree: ast.AST, package: str = "") -> set[str]:
    """Absolute names of the modules, or of things in modules, that this source imports; anywhere in it.

    ``package`` is the package that the source belongs to, for relative imports.
    """
    names: set[str] = set()
    node: Any
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")
                up = up[: len(up) - node.level + 1]
                base = ".".join([*up, base] if base else up)
            names.update(f"{base}.{a.name}" for a in node.names)
    return names

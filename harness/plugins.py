"""A plug-in: a user's file with the modules beside it that it imports, read once and named by their digest.

What is executed are the bytes that were read, so that the digest is that of the code that ran. A copy of them
travels: into the results folder, whose processes import it, and to other machines.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath
from types import ModuleType

from harness import distributions, sources
from harness.errors import PluginError
from harness.files import sync_folder, write_atomically


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A user's file and what it imports from its own folder."""

    path: Path
    """The file."""
    files: Mapping[str, bytes]
    """Path below the file's folder -> content; the file itself first."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def module(self) -> str:
        """What it is called as a module: no other file has this name."""
        return f"harness_plugin_{hashlib.sha256(str(self.path).encode()).hexdigest()[:8]}_{self.path.stem}"

    @property
    def digest(self) -> str:
        """SHA-256 over the names and contents of its files, in hex."""
        return digest_of_sources(self.files)

    @property
    def paths(self) -> set[Path]:
        """Its files."""
        return {self.path.parent / name for name in self.files}

    @property
    def helpers(self) -> set[str]:
        """Top-level names of the modules beside it that it imports."""
        return {PurePosixPath(f).parts[0].removesuffix(".py") for f in self.files if f != self.name}

    def with_folder(self, folder: Path) -> Plugin:
        """With the modules of a folder below its own, e.g. of workloads."""
        root = self.path.parent
        more = {f.relative_to(root).as_posix(): f.read_bytes() for f in sorted(folder.glob("*.py"))}
        return replace(self, files={**self.files, **more})


def digest_of_sources(files: Mapping[str, bytes]) -> str:
    """The digest of a plug-in with these files (name -> content), in any order."""
    parts = sorted((name, hashlib.sha256(content).hexdigest()) for name, content in files.items())
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def read(path: Path) -> Plugin:
    """The file and, of the modules beside it, those that it reaches by import.

    Raises PluginError for a file that is missing, whose name is no module's, or that has a syntax error.
    """
    path = path.resolve()
    if not path.is_file():
        raise PluginError(f"--plugin {path}: no such file")
    if path.suffix != ".py" or "." in path.stem:
        wanted = path.stem.replace(".", "_")
        raise PluginError(f"--plugin {path}: a method is named by its file; rename it, e.g. {wanted}.py")
    files: dict[str, bytes] = {}
    todo = [path.name]
    while todo:
        name = todo.pop()
        if name in files:
            continue
        file = path.parent / name
        files[name] = file.read_bytes()
        package = ".".join(PurePosixPath(name).parent.parts)
        for imported in sources.imported_names(_parsed(file, files[name]), package):
            todo += _beside(path.parent, imported)
    return Plugin(path=path, files=files)


def _parsed(file: Path, content: bytes) -> ast.AST:
    try:
        return ast.parse(content)
    except SyntaxError as error:
        raise PluginError(f"{file}:{error.lineno}: syntax error: {error.msg}") from None
    except ValueError as error:
        raise PluginError(f"{file}: {error}") from None


def _beside(folder: Path, module: str) -> list[str]:
    """Files below the folder that importing this name executes: packages on the way, then the module."""
    parts = module.split(".")
    if parts[0] in sources.PACKAGES:
        return []
    found = []
    for n in range(1, len(parts) + 1):
        base = "/".join(parts[:n])
        found += [f for f in (f"{base}/__init__.py", f"{base}.py") if (folder / f).is_file()]
    return found


# --- copies ------------------------------------------------------------------------------------------------


def write_copy(plugin: Plugin, folder: Path) -> None:
    """Leave the files in ``folder/<digest>/``, whole or not at all."""
    target = folder / plugin.digest
    if target.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".tmp-"))
    try:
        for name, content in plugin.files.items():
            write_atomically(temporary / name, content)
        temporary.chmod(0o755)
        temporary.rename(target)
        sync_folder(folder)
    except OSError:
        # Another process was first: its copy has the same digest.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_copy(folder: Path, name: str, digest: str) -> Plugin:
    """The plug-in whose copy lies in ``folder/<digest>/``. Raises PluginError if it is not what it was."""
    root = (folder / digest).resolve()
    found = {f.relative_to(root).as_posix(): f.read_bytes() for f in sorted(root.rglob("*.py"))}
    plugin = Plugin(path=root / name, files=found)
    if name not in found or plugin.digest != digest:
        raise PluginError(f"{root}: not the copy of plug-in {name} that its name says; delete the folder")
    return plugin


# --- importing ---------------------------------------------------------------------------------------------


def execute(plugin: Plugin) -> ModuleType:
    """Import the plug-in from the bytes that were read; what it raises is the caller's affair."""
    for name, content in plugin.files.items():
        sources.keep(plugin.path.parent / name, content)
    _offer_helpers(plugin)
    spec = importlib.util.spec_from_file_location(
        plugin.module, plugin.path, loader=sources.KeptLoader(plugin.module, str(plugin.path))
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[plugin.module] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        forget(plugin)
        raise
    return module


def forget(plugin: Plugin) -> None:
    """Let the names of its modules mean nothing again."""
    sys.modules.pop(plugin.module, None)
    mine = [top for top, owner in _helpers.owners.items() if owner is plugin]
    for top in mine:
        del _helpers.owners[top]
    for name in [n for n in sys.modules if n.partition(".")[0] in mine]:
        del sys.modules[name]


class _Helpers:
    """Finds the modules beside plug-ins; each name belongs to one file."""

    def __init__(self) -> None:
        self.owners: dict[str, Plugin] = {}
        """Top-level name -> the first plug-in that brought it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        plugin = self.owners.get(name.partition(".")[0])
        if plugin is None:
            return None
        base = name.replace(".", "/")
        folder = plugin.path.parent
        for file in (f"{base}/__init__.py", f"{base}.py"):
            if file in plugin.files:
                where = str(folder / file)
                return importlib.util.spec_from_file_location(
                    name, where, loader=sources.KeptLoader(name, where),
                    submodule_search_locations=[str(folder / base)] if file.endswith("__init__.py") else None,
                )  # fmt: skip
        if any(file.startswith(f"{base}/") for file in plugin.files):
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(folder / base)]
            return spec
        return None


_helpers = _Helpers()


def _offer_helpers(plugin: Plugin) -> None:
    """Make the plug-in's helpers importable. Raises PluginError if a name means another module already."""
    for top in sorted(plugin.helpers):
        owner = _helpers.owners.get(top)
        if owner is not None:
            if _part(owner, top) != _part(plugin, top):
                raise PluginError(
                    f"{plugin.path}: imports {top!r} from its folder, and {owner.path} imports another {top!r} "
                    "from its own; rename one of them"
                )
        elif top in sys.modules or distributions.is_known(top):
            raise PluginError(
                f"{plugin.path}: imports {top!r}, which lies in its folder and is a module of that name "
                f"elsewhere, too; rename {plugin.path.parent / top}"
            )
        else:
            _helpers.owners[top] = plugin
    if plugin.helpers and _helpers not in sys.meta_path:
        sys.meta_path.insert(0, _helpers)


def _part(plugin: Plugin, top: str) -> dict[str, bytes]:
    return {f: c for f, c in plugin.files.items() if f == f"{top}.py" or f.startswith(f"{top}/")}

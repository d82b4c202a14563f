"""Kinds of methods, and how a name becomes a method.

A baseline is found by its file name (``baselines/<kind>s/<name>.py``) and imported when used. Installed
packages add methods through the entry-point group ``harness.methods`` (``kind.name = module``); a user's
file is loaded by path (``--plugin my.py``). Listing never imports a method.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from pydantic import ConfigDict

from harness.errors import PluginError, UnknownNameError, unknown

KINDS: dict[str, str] = {
    file.stem: f"{file.stem}s" for file in sorted((Path(__file__).parent / "contracts").glob("[!_]*.py"))
}
"""Kind of method -> its folder in ``baselines/``: those whose contract is checked, so that there is no other."""

T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class Entry:
    """Where a method comes from."""

    kind: str
    name: str
    module: str
    """Module to import."""
    origin: str
    """Human words: baseline, package, or the plug-in's path."""
    path: Path | None = None
    """Source file where known."""


_registered: dict[tuple[str, str], type] = {}
_plugins: dict[tuple[str, str], Entry] = {}
_broken: dict[str, str] = {}


def register(kind: str, name: str | None = None) -> Callable[[T], T]:
    """Class decorator: registers a frozen keyword-only dataclass as a method of this kind.

    The name defaults to the module's file name. Raises PluginError if the class is no such dataclass.
    """

    def wrap(cls: T) -> T:
        if kind not in KINDS:
            raise unknown("kind of method", kind, KINDS, cls.__module__)
        params = getattr(cls, "__dataclass_params__", None)
        if params is None or not params.frozen:
            raise PluginError(
                f"{cls.__module__}.{cls.__name__}: a method is a frozen keyword-only dataclass; "
                "decorate it with @dataclass(frozen=True, kw_only=True) below @register"
            )
        chosen = name or cls.__module__.rsplit(".", 1)[-1]
        cls.__pydantic_config__ = ConfigDict(  # type: ignore[attr-defined]
            extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
        )
        cls.kind, cls.name = kind, chosen  # type: ignore[attr-defined]
        _registered[kind, chosen] = cls
        return cls

    return wrap


@cache
def _baselines() -> dict[tuple[str, str], Entry]:
    found = {}
    root = Path(str(resources.files("baselines")))
    for kind, folder in KINDS.items():
        for file in sorted((root / folder).glob("*.py")):
            if not file.stem.startswith("_"):
                module = f"baselines.{folder}.{file.stem}"
                found[kind, file.stem] = Entry(kind, file.stem, module, "baseline", file)
    for point in metadata.entry_points(group="harness.methods"):
        kind, _, name = point.name.partition(".")
        if kind not in KINDS or not name:
            _broken[point.value] = (
                f"entry point {point.name!r}: name it '<kind>.<name>', kinds {sorted(KINDS)}"
            )
            continue
        origin = f"package {point.dist.name}" if point.dist else "package"
        if (kind, name) in found:
            other = found[kind, name].origin
            raise PluginError(f"{kind} {name!r} is offered by {other} and by {origin}; uninstall one of them")
        found[kind, name] = Entry(kind, name, point.module, origin)
    return found


def entries(kind: str | None = None) -> list[Entry]:
    """Every method known, without importing any."""
    everything = {**_baselines(), **_plugins}
    return [e for (k, _), e in sorted(everything.items()) if kind in (None, k)]


def broken_plugins() -> dict[str, str]:
    """Plug-ins that could not be loaded -> why."""
    return dict(_broken)


def load_plugin(path: Path) -> list[Entry]:
    """Import a user's file (its folder importable meanwhile) and return what it registers.

    Raises PluginError naming the file and line if it does not import or registers nothing.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise PluginError(f"--plugin {path}: no such file")
    known = [e for e in _plugins.values() if e.path == path]
    if known:
        return known
    before = dict(_registered)
    try:
        module = _import_path(path)
    except SyntaxError as error:
        raise PluginError(f"{error.filename or path}:{error.lineno}: syntax error: {error.msg}") from None
    except PluginError:
        raise
    except Exception as error:
        line = _line_in(error, path)
        raise PluginError(f"{path}:{line}: {type(error).__name__}: {error}") from error
    found = []
    for (kind, name), cls in list(_registered.items()):
        if cls.__module__ != module.__name__ or before.get((kind, name)) is cls:
            continue
        if (kind, name) in _baselines():
            del _registered[kind, name]
            if (kind, name) in before:
                _registered[kind, name] = before[kind, name]
            raise PluginError(
                f"{path}: {kind} {name!r} is already a {_baselines()[kind, name].origin}; rename the file "
                'or register under another name: @register("' + kind + '", name="...")'
            )
        entry = Entry(kind, name, module.__name__, f"plug-in {path}", path)
        _plugins[kind, name] = entry
        found.append(entry)
    if not found:
        raise PluginError(
            f"{path}: registers no method; decorate a dataclass with @register(kind), kinds {sorted(KINDS)}"
        )
    return found


def load_plugins(paths: Iterable[Path]) -> None:
    """Load several plug-ins; one that is broken is noted (see broken_plugins) and the others still work."""
    for path in paths:
        try:
            load_plugin(path)
        except PluginError as error:
            _broken[str(path)] = str(error)


def plugin_paths() -> list[Path]:
    """Files of the plug-ins loaded so far."""
    return sorted({e.path for e in _plugins.values() if e.path})


def _import_path(path: Path) -> ModuleType:
    name = f"harness_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    # Helper modules beside the plug-in resolve as they would if it were run as a script.
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    finally:
        sys.path.remove(str(path.parent))
    for (kind, key), cls in list(_registered.items()):
        if cls.__module__ == name and key == name:
            del _registered[kind, key]
            cls.name = path.stem  # type: ignore[attr-defined]
            _registered[kind, path.stem] = cls
    return module


def _line_in(error: BaseException, path: Path) -> int:
    line, trace = 0, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def find(kind: str, name: str, where: str = "") -> Entry:
    """The entry of a method; UnknownNameError with 'did you mean' otherwise."""
    if kind not in KINDS:
        raise unknown("kind of method", kind, KINDS, where)
    entry = _plugins.get((kind, name)) or _baselines().get((kind, name))
    if entry is None:
        error = unknown(kind, name, [e.name for e in entries(kind)], where)
        if _broken:
            notes = "; ".join(_broken.values())
            raise UnknownNameError(f"{error} Plug-ins that did not load: {notes}.")
        raise error
    return entry


def method_class(kind: str, name: str, where: str = "") -> type:
    """The registered class; imports its module on first use."""
    entry = find(kind, name, where)
    if (kind, name) not in _registered:
        try:
            importlib.import_module(entry.module)
        except SyntaxError as error:
            raise PluginError(f"{error.filename}:{error.lineno}: syntax error: {error.msg}") from None
    if (kind, name) not in _registered:
        raise PluginError(f"{entry.path or entry.module}: registers no {kind} named {name!r}")
    return _registered[kind, name]


def unavailable(kind: str, name: str) -> str | None:
    """Why this method cannot run on this machine, or None."""
    probe = getattr(method_class(kind, name), "available", None)
    return probe() if callable(probe) else None


def summary(entry: Entry) -> str:
    """First line of the method's docstring, read without importing it."""
    if entry.path is None:
        return ""
    try:
        tree = ast.parse(entry.path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        return f"does not import: {entry.path}:{error.lineno}: {error.msg}"
    return (ast.get_docstring(tree) or "").partition("\n")[0]

"""Kinds of methods, and how a name becomes a method.

A baseline is found by its file name (``baselines/<kind>s/<name>.py``) and imported when used. Installed
packages add methods through the entry-point group ``harness.methods`` (``kind.name = module``); a user's
file is loaded by path (``--plugin my.py``). Listing never imports a method.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict

import harness.workloads
from harness import inheritance, plugins, sources
from harness.errors import PluginError, UnknownNameError, unknown
from harness.plugins import Plugin

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
    plugin: Plugin | None = None
    """The plug-in that brings it, if one does."""


_registered: dict[tuple[str, str, str], type] = {}
"""(kind, name, module) -> class: a name means the class of the module that its entry gives, and no other."""
_plugins: dict[tuple[str, str], Entry] = {}
_loaded: dict[Path, Plugin] = {}
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
        chosen = name or _stem(cls.__module__)
        before = _registered.get((kind, chosen, cls.__module__))
        if before is not None:
            raise PluginError(
                f"{cls.__module__}: {before.__name__} and {cls.__name__} are both {kind} {chosen!r}; "
                f'give one another name: @register("{kind}", name="...")'
            )
        cls.__pydantic_config__ = ConfigDict(  # type: ignore[attr-defined]
            extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
        )
        cls.kind, cls.name = kind, chosen  # type: ignore[attr-defined]
        _registered[kind, chosen, cls.__module__] = cls
        return cls

    return wrap


def _stem(module: str) -> str:
    """The name of a module's file."""
    plugin = next((p for p in _loaded.values() if p.module == module), None)
    return plugin.path.stem if plugin else module.rpartition(".")[2]


@cache
def _baselines() -> dict[tuple[str, str], Entry]:
    found = {}
    root = sources.shipped("baselines")
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
    """Import a user's file and return what it registers.

    Raises PluginError naming the file and line if it does not import or registers nothing, and if one of its
    names is taken.
    """
    path = Path(path).resolve()
    if path in _loaded:
        return [e for e in _plugins.values() if e.path == path]
    # This process starts those of the trials.
    with inheritance.kept():
        return adopt(plugins.read(path))


def adopt(plugin: Plugin) -> list[Entry]:
    """Import a plug-in that was read and return what it registers; raises PluginError as load_plugin does."""
    path = plugin.path
    twin = next((p for p in _loaded.values() if p.name == plugin.name), None)
    if twin is not None:
        raise PluginError(f"{path}: another plug-in of this file name is loaded, {twin.path}; rename one of them")
    _loaded[path] = plugin
    try:
        _loaded[path] = _with_workloads(plugin)
        return _entries_of(_loaded[path])
    except BaseException:
        del _loaded[path]
        plugins.forget(plugin)
        for key in [k for k in _registered if k[2] == plugin.module]:
            del _registered[key]
        raise


def _with_workloads(plugin: Plugin) -> Plugin:
    """Import it; with the workloads in folders of its own that it added to ``harness.workloads``."""
    before = list(harness.workloads.__path__)
    try:
        plugins.execute(plugin)
    except SyntaxError as error:
        raise PluginError(f"{error.filename or plugin.path}:{error.lineno}: syntax error: {error.msg}") from None
    except PluginError:
        raise
    except Exception as error:
        line = _line_in(error, plugin.path)
        raise PluginError(f"{plugin.path}:{line}: {type(error).__name__}: {error}") from error
    for folder in harness.workloads.__path__:
        if folder not in before and Path(folder).is_relative_to(plugin.path.parent):
            plugin = plugin.with_folder(Path(folder))
    return plugin


def _entries_of(plugin: Plugin) -> list[Entry]:
    found = []
    for kind, name, module in list(_registered):
        if module != plugin.module:
            continue
        taken = _baselines().get((kind, name)) or _plugins.get((kind, name))
        if taken is not None:
            what = f"already a {taken.origin}" if taken.plugin is None else f"offered by {taken.origin}, too"
            raise PluginError(
                f"{plugin.path}: {kind} {name!r} is {what}; rename the file "
                'or register under another name: @register("' + kind + '", name="...")'
            )
        found.append(Entry(kind, name, module, f"plug-in {plugin.path}", plugin.path, plugin))
    if not found:
        raise PluginError(
            f"{plugin.path}: registers no method; decorate a dataclass with @register(kind), kinds {sorted(KINDS)}"
        )
    _plugins.update({(e.kind, e.name): e for e in found})
    return found


def load_plugins(paths: Iterable[Path]) -> None:
    """Load several plug-ins; one that is broken is noted (see broken_plugins) and the others still work."""
    for path in paths:
        try:
            load_plugin(path)
        except PluginError as error:
            _broken[str(path)] = str(error)


def loaded_plugins() -> list[Plugin]:
    """The plug-ins that this process has imported, by name."""
    return sorted(_loaded.values(), key=lambda p: p.name)


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
    key = kind, name, entry.module
    if key not in _registered:
        if entry.origin == "baseline":
            sources.own_package("baselines")
        try:
            importlib.import_module(entry.module)
        except SyntaxError as error:
            raise PluginError(f"{error.filename}:{error.lineno}: syntax error: {error.msg}") from None
    if key not in _registered:
        raise PluginError(f"{entry.path or entry.module}: registers no {kind} named {name!r}")
    return _registered[key]


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

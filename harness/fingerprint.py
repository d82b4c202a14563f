"""Fingerprints: which first-party code a trial's numbers rest on, as a digest of each module's syntax tree."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import harness.workloads
from harness import distributions, registry, sources
from harness.plugins import Plugin
from harness.trial import Trial
from harness.workload import method_sections, workload_module

FIRST_PARTY = ("harness", "baselines")
WORKLOADS = "harness.workloads."
EXEMPT = {
    "harness.errors": "what is said of a mistake",
    "harness.files": "how bytes reach a disk, not which",
    "harness.fingerprint": "what is asked of the code, after it ran",
    "harness.probes": "probes change nothing: losses with and without them are bit-identical, which is tested",
    "harness.registry": "finds a method by name; the method's own code and fields are in fingerprint and identity",
    "harness.trial": "what a trial is called; its config is in the identity",
    "harness.validation": "what is said of a value that was refused",
    "harness.workload": "the seam: declarations without a computation",
}
"""Module (with what lies below it) -> why no edit of it can change a number: left out of every fingerprint."""
ALWAYS = ("harness.determinism",)
"""What every trial's numbers rest on, although no workload imports it."""
DECLARED = "METRICS"
"""A workload's declaration of this name is for readers and the gate; editing it changes no number."""


def source_digest(source: str) -> str:
    """Digest of a module's syntax tree without docstrings; comments and layout are not in the tree."""
    return _tree_digest(ast.parse(source))


def _tree_digest(tree: ast.AST) -> str:
    # Own serialisation, since ast.dump differs between Python versions.

    def serial(node: Any) -> Any:
        if isinstance(node, ast.AST):
            fields = []
            for name, value in ast.iter_fields(node):
                if name in ("type_comment", "type_params", "kind") or value is None or value == []:
                    continue
                if name == "body" and isinstance(value, list):
                    # A docstring, or a line under a field that says what it is: prose, not code.
                    value = [s for s in value if not (_is_prose(s) or _is_declaration(s))]
                fields.append([name, serial(value)])
            return [type(node).__name__, *fields]
        if isinstance(node, list):
            return [serial(n) for n in node]
        return repr(node)

    text = json.dumps(serial(tree), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_prose(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_declaration(statement: ast.stmt) -> bool:
    targets = (
        statement.targets
        if isinstance(statement, ast.Assign)
        else [statement.target]
        if isinstance(statement, ast.AnnAssign)
        else []
    )
    return any(isinstance(t, ast.Name) and t.id == DECLARED for t in targets)


def _exempt(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in EXEMPT)


def _package_folder(top: str) -> Path:
    return sources.shipped(top)


def _module_file(module: str, roots: Mapping[str, Path]) -> Path | None:
    """The source of a module: in the packages that ship, of a plug-in, or beside one."""
    if module in roots:
        return roots[module]
    top, *parts = module.split(".")
    if top not in FIRST_PARTY:
        return next(filter(None, (_source(file.parent.joinpath(top, *parts)) for file in roots.values())), None)
    found = _source(_package_folder(top).joinpath(*parts))
    if found is None and module.startswith(WORKLOADS):
        # Perhaps one that a plug-in or an installed package adds.
        added = (_source(Path(p, *parts[1:])) for p in harness.workloads.__path__[1:])
        found = next(filter(None, added), None)
    return found


def _source(base: Path) -> Path | None:
    """The file of a module or of a package whose path without suffix this is."""
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)


@cache
def _scan(file: Path, modified_ns: int, module: str) -> tuple[str, frozenset[str]]:
    """(source digest, absolute names of the modules, or of things in modules, that it imports)."""
    tree = ast.parse(sources.read(file))
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return _tree_digest(tree), frozenset(sources.imported_names(tree, package))


def import_closure(modules: Iterable[str], files: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Every module reachable from these by import, EXEMPT apart -> its file: first-party ones, and what a
    plug-in or a method from elsewhere imports from sources that may be edited.

    ``files`` gives the files of plug-in modules, whose folders are first-party too.
    """
    return _closure(modules, dict(files or {}))[0]


def _closure(modules: Iterable[str], files: Mapping[str, Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """(module -> file, distribution -> version): installed code counts where a user's code imports it."""
    found: dict[str, Path] = {}
    versions: dict[str, str] = {}
    todo = [(module, True) for module in modules]

    def first_party(name: str) -> Path | None:
        return _module_file(name, files)

    while todo:
        module, by_user = todo.pop()
        if module in found or _exempt(module):
            continue
        top = module.partition(".")[0]
        find: Callable[[str], Path | None] = first_party
        parts = module.split(".")
        ours = top in FIRST_PARTY or any(find(".".join(parts[: n + 1])) for n in range(len(parts)))
        if by_user and not ours and distributions.matters(top):
            if held := distributions.versions(top):
                versions.update(held)
                continue
            find = _elsewhere
        file = find(module)
        if file is None:
            # A name inside a module, whose own package's __init__ is then looked at; a submodule's is not.
            parent = module.rpartition(".")[0]
            if parent and find(parent):
                todo.append((parent, by_user))
            continue
        theirs = top not in FIRST_PARTY
        if theirs and "." in module:
            todo.append((module.rpartition(".")[0], by_user))
        found[module] = file
        todo.extend((name, theirs) for name in _scan(file, file.stat().st_mtime_ns, module)[1])
    return found, versions


def _elsewhere(module: str) -> Path | None:
    """The source of a module that no distribution holds, or one that may be edited."""
    top, *parts = module.split(".")
    folder = distributions.folder(top)
    return _source(folder.joinpath(top, *parts)) if folder else None


def fingerprint(modules: Iterable[str], files: Mapping[str, Path] | None = None) -> dict[str, str]:
    """Module -> digest of its syntax tree, for the import closure of these modules; and distribution -> version
    of what users' code imports from installed packages.

    A plug-in is named by its file, so that copies on other machines agree.
    """
    files = dict(files or {})
    found, out = _closure(modules, files)
    for module, file in found.items():
        name = file.name if module in files else module
        out[name] = _scan(file, file.stat().st_mtime_ns, module)[0]
    return dict(sorted(out.items()))


def changed_modules(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Modules whose code differs, or that only one of the two fingerprints has."""
    return sorted(m for m in {*old, *new} if old.get(m) != new.get(m))


def trial_fingerprint(trial: Trial) -> dict[str, str]:
    """Module -> digest of the code that this trial reaches: workload, methods, the switches for determinism.

    Worked out once a process for each set of methods, since that is the code that the process has loaded.
    """
    module = workload_module(trial.workload)
    config = module.Config.model_validate(trial.config)
    methods = tuple((kind, value["name"]) for _, kind, value in method_sections(module, config))
    return dict(_trial_fingerprint(trial.workload, methods))


@cache
def _trial_fingerprint(workload: str, methods: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    names = [*ALWAYS, f"harness.workloads.{workload}"]
    files: dict[str, Path] = {}
    for kind, name in methods:
        entry = registry.find(kind, name)
        names.append(entry.module)
        if entry.plugin:
            files[entry.module] = entry.plugin.path
    return fingerprint(names, files)


def trial_plugins(
    trial: Trial, probes: Mapping[str, Mapping[str, Any]]
) -> list[tuple[Plugin, tuple[str, ...]]]:
    """The loaded plug-ins that this trial names something of, also in its probes' settings; with its kinds."""
    module = workload_module(trial.workload)
    config = module.Config.model_validate(trial.config)
    named = {(kind, value["name"]) for _, kind, value in method_sections(module, config)}
    words = set(_words(probes))
    file = Path(str(module.__file__))

    def kinds(plugin: Plugin) -> tuple[str, ...]:
        mine = [e for e in registry.entries() if e.plugin is plugin]
        found = {e.kind for e in mine if (e.kind, e.name) in named or (e.kind == "rank" and e.name in words)}
        return tuple(sorted(found | ({"workload"} if file in plugin.paths else set())))

    return [(p, kinds(p)) for p in registry.loaded_plugins() if kinds(p)]


def _words(value: Any) -> Iterator[str]:
    """Every text in nested settings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, Iterable):
        for inner in value:
            yield from _words(inner)

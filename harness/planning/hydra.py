"""Composition of a suite's files by Hydra: defaults lists, interpolation, the grammar of overrides.

Hydra never sees a user's path or text as it stands: every file of a defaults list is read strictly (see
harness.reading) and laid into a folder of its own, so that any path works and no reader's quirk changes a value.
Only this module knows Hydra.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import sources
from harness.errors import SuiteError, unknown
from harness.planning.merging import merged
from harness.planning.suite import Suite
from harness.reading import ReadingError, parse_yaml, read_text, refuse_ambiguous

SUFFIXES = (".yaml", ".yml")
MAIN = "__suite__"
"""Name of the suite itself in the folder that Hydra reads: no file of a defaults list is called so."""
HIDDEN = "x-"
"""Top-level keys that begin so hold anchors for the file's own use, and are no part of the suite."""
_NAME = re.compile(r"^/?[\w.-]+(?:/[\w.-]+)*$")
_RESOLVER = re.compile(r"\$\{[^{}]*:")
_WORD = re.compile(r"^(\+{0,2})([\w./-]+)=(.*)$", re.DOTALL)


def shipped_folder() -> Path:
    """The folder of the suites that ship with the package."""
    return sources.shipped("suites")


def composed(file: Path) -> dict[str, Any]:
    """The file with all that its defaults list names laid under it; interpolations not yet resolved."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    logging.getLogger("hydra").setLevel(logging.ERROR)
    GlobalHydra.instance().clear()
    with tempfile.TemporaryDirectory(prefix="suite-") as folder:
        try:
            _lay(file, MAIN, file, Path(folder), set())
        except ReadingError as error:
            raise SuiteError(str(error)) from None
        try:
            with initialize_config_dir(config_dir=folder, version_base="1.3"):
                config = compose(config_name=MAIN)
            raw = OmegaConf.to_container(config, resolve=False)
        except (HydraException, OmegaConfBaseException) as error:
            raise SuiteError(f"{file}: {_first_line(error, folder)}") from None
    assert isinstance(raw, dict)
    return {str(k): v for k, v in raw.items()}


def _first_line(error: Exception, folder: str) -> str:
    return next(iter(str(error).replace(folder, "").strip().splitlines()), type(error).__name__)


def _lay(file: Path, name: str, suite: Path, folder: Path, done: set[str]) -> None:
    """Write a file, strictly read, as ``<folder>/<name>.yaml``; and all that its defaults list names."""
    text = read_text(file)
    content = parse_yaml(text, str(file))
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise SuiteError(f"{file}: a suite is a mapping of keys, found {found}")
    content = {k: v for k, v in content.items() if not str(k).startswith(HIDDEN)}
    _refuse_resolvers(content, str(file))
    header = [line for line in text.splitlines()[:5] if line.startswith("# @package")]
    target = folder / f"{name}.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    # JSON is YAML in which every scalar says its type.
    target.write_text("\n".join([*header, json.dumps(content, indent=1)]), encoding="utf-8")
    done.add(name)
    entries = content.get("defaults", [])
    if not isinstance(entries, list):
        raise SuiteError(f"{file}: key 'defaults': a list such as [muon_scaling, _self_], found {entries!r}")
    for entry in entries:
        wanted = _named(entry, file)
        if wanted and wanted not in done:
            _lay(_beside(wanted, file, suite), wanted, suite, folder, done)


def _named(entry: Any, file: Path) -> str:
    """The file that an entry of a defaults list names; empty for the suite itself."""
    if isinstance(entry, Mapping) and len(entry) == 1:
        group, option = next(iter(entry.items()))
        if not isinstance(option, str):
            raise SuiteError(f"{file}: defaults: {entry!r}: give one file of the group, as {{{group}: name}}")
        entry = f"{str(group).partition('@')[0]}/{option}"
    text = str(entry).partition("@")[0]
    if text == "_self_":
        return ""
    if not isinstance(entry, str) or not _NAME.match(text) or ".." in text.split("/"):
        raise SuiteError(f"{file}: defaults: {entry!r} is no name of a suite or of a file beside this one")
    return text.lstrip("/")


def _beside(name: str, file: Path, suite: Path) -> Path:
    """The file of this name beside the suite, else the shipped one; never the suite itself."""
    for base in (suite.parent, shipped_folder()):
        for suffix in SUFFIXES:
            found = base / f"{name}{suffix}"
            if found.is_file() and found.resolve() != suite.resolve():
                return found
    known = sorted(p.stem for p in shipped_folder().glob("*.yaml") if p.resolve() != suite.resolve())
    raise unknown("file", name, known, f"{file}: defaults: neither beside the suite nor shipped")


def _refuse_resolvers(value: Any, where: str) -> None:
    """What an interpolation reads from outside the suite would end up in committed records."""
    if isinstance(value, Mapping):
        for v in value.values():
            _refuse_resolvers(v, where)
    elif isinstance(value, list):
        for v in value:
            _refuse_resolvers(v, where)
    elif isinstance(value, str) and _RESOLVER.search(value):
        raise SuiteError(
            f"{where}: {value!r}: resolvers such as ${{oc.env:...}} read what lies outside the suite, and "
            "what they read would stand in records; write the value, or ${key} of another key of the suite"
        )


def resolved(raw: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The suite with every ``${key}`` replaced by the value of that key, wherever it stands."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        out = OmegaConf.to_container(OmegaConf.create(dict(raw)), resolve=True, throw_on_missing=True)
    except (OmegaConfBaseException, RecursionError, ValueError) as error:
        raise SuiteError(f"{file}: {_first_line(error, '')}") from None
    assert isinstance(out, dict)
    return {str(k): v for k, v in out.items()}


# --- overrides ---------------------------------------------------------------------------------------------


def overridden(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The suite with Hydra overrides applied in their order. Raises SuiteError naming the override."""
    for text in overrides:
        keys, value, change = _parsed(text)
        place = f"override {text!r}"
        if len(keys) == 1 and keys[0] not in Suite.model_fields:
            raise unknown("key", keys[0], [*Suite.model_fields], place)
        if keys[0] in ("arms", "axes", "claims") and len(keys) > 1 and change != "add":
            have = raw.get(keys[0], {})
            if keys[1] not in have:
                raise unknown(keys[0].rstrip("s"), keys[1], have, place)
        node = raw
        for depth, key in enumerate(keys[:-1], 1):
            child = node.get(key)
            if child is not None and not isinstance(child, dict):
                what = "a list: give it whole, as key=[a, b]" if isinstance(child, list) else f"{child!r}"
                raise SuiteError(f"{place}: {'.'.join(keys[:depth])!r} is no section but {what}")
            node[key] = child = dict(child or {})
            node = child
        if change == "delete":
            if keys[-1] not in node:
                raise unknown("key to delete", keys[-1], node, place)
            del node[keys[-1]]
            continue
        _refuse_resolvers(value, place)
        old = node.get(keys[-1])
        node[keys[-1]] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return raw


def _parsed(text: str) -> tuple[list[str], Any, str]:
    """(keys, value, "set" | "add" | "delete") of an override."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    word = _WORD.match(text)
    try:
        parsed = OverridesParser.create().parse_override(text)
        sweeps = parsed.is_sweep_override()
    except HydraException as error:
        # A path or a sentence that is no value of Hydra's grammar is text, unless it begins like a list or a quote.
        if word is None or word[3].lstrip()[:1] in ("[", "{", "'", '"') or "${" in word[3]:
            raise SuiteError(f"override {text!r}: {_first_line(error, '')}") from None
        return word[2].replace("/", ".").split("."), word[3], "add" if word[1] else "set"
    if sweeps:
        if word and ("/" in word[3] or " " in word[3]) and "(" not in word[3].partition(",")[0].partition("/")[0]:
            return word[2].replace("/", ".").split("."), word[3], "add" if word[1] else "set"
        raise SuiteError(
            f"override {text!r}: a,b,c is a sweep, and sweeps are written as axes in the suite; numbers take a "
            "decimal point, and text with a comma takes quotes"
        )
    keys = parsed.key_or_group.replace("/", ".").split(".")
    if parsed.is_delete():
        return keys, None, "delete"
    value = parsed.value()
    change = "add" if parsed.is_add() or parsed.is_force_add() else "set"
    if isinstance(value, str) and word and value == word[3]:
        try:
            refuse_ambiguous(value, f"override {text!r}")
            value = parse_yaml(value, f"override {text!r}") if _is_scalar(value) else value
        except ReadingError as error:
            raise SuiteError(str(error)) from None
    return keys, value, change


def _is_scalar(text: str) -> bool:
    """Whether YAML might see more in it than text: a number in another form than Hydra's."""
    return bool(re.match(r"^[-+.\d]", text))

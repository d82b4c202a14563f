"""How YAML, a profile and the command line become one suite. Only this module knows Hydra.

Hydra composes (defaults lists, shared groups, override grammar); pydantic validates. Precedence: suite, then its
profile section, then the command line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from harness import sources
from harness.errors import HarnessError, SuiteError, unknown
from harness.planning.merging import merged
from harness.planning.suite import PROFILES, SHIPPED, Arm, Around, Axis, Need, Range, Sampler, Suite, Sweep, Tuning


def shipped_folder() -> Path:
    """The folder of the suites that ship with the package."""
    return sources.shipped("suites")


def shipped() -> list[str]:
    """Names of the shipped suites."""
    return sorted(p.stem for p in shipped_folder().glob("*.yaml"))


def title_of(name: str) -> str:
    """A shipped suite's title, read without composing it."""
    raw = yaml.safe_load((shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    return str(raw.get("title", ""))


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Command-line words -> (suite names or paths, profile, other overrides)."""
    suites, profile, overrides = [], None, []
    for word in arguments:
        if word.startswith("profile="):
            profile = word.removeprefix("profile=")
        elif "=" in word or word.startswith(("~", "+")):
            overrides.append(word)
        else:
            suites.append(word)
    if profile is not None and profile not in PROFILES:
        raise unknown("profile", profile, PROFILES, "profile")
    return suites, profile, overrides


def load(name: str, profile: str | None = None, overrides: Sequence[str] = ()) -> Suite:
    """The suite by shipped name or by path, with its profile and overrides applied.

    Raises SuiteError naming file, key, value, valid values and fix.
    """
    file = _find(name)
    raw = _compose(file)
    profile = profile or raw.get("profile", "cpu")
    profiles = raw.pop("profiles", {})
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES, str(file))
    if profile not in profiles:
        raise SuiteError(
            f"{file}: suite {file.stem!r} has no profile {profile!r}; it has {', '.join(sorted(profiles))}"
        )
    raw = merged(raw, profiles[profile] or {})
    raw = _override(raw, overrides, file)
    raw.update(name=file.stem, file=_short(file), profile=profile)
    try:
        return Suite.model_validate(raw)
    except ValidationError as error:
        raise SuiteError(explain(error, file, overrides)) from None


def _short(file: Path) -> str:
    return f"{SHIPPED}/{file.name}" if file.parent == shipped_folder() else str(file)


def _find(name: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise SuiteError(f"{name}: no such suite file")
        return path.resolve()
    file = shipped_folder() / f"{name}.yaml"
    if not file.is_file():
        raise unknown("suite", name, shipped(), "give a shipped suite's name or a path ending in .yaml")
    return file


def _compose(file: Path) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    logging.getLogger("hydra").setLevel(logging.ERROR)
    GlobalHydra.instance().clear()
    search = [] if file.parent == shipped_folder() else [f"hydra.searchpath=[file://{shipped_folder()}]"]
    try:
        with initialize_config_dir(config_dir=str(file.parent), version_base="1.3"):
            config = compose(config_name=file.stem, overrides=search)
        raw = OmegaConf.to_container(config, resolve=True)
    except yaml.YAMLError as error:
        raise SuiteError(f"{file}: not valid YAML: {error}") from None
    except (HydraException, OmegaConfBaseException) as error:
        raise SuiteError(f"{file}: {error}") from None
    if not isinstance(raw, dict):
        raise SuiteError(f"{file}: a suite is a mapping of keys, found {type(raw).__name__}")
    return {str(k): v for k, v in raw.items()}


def _override(raw: dict[str, Any], overrides: Sequence[str], file: Path) -> dict[str, Any]:
    if not overrides:
        return raw
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    for text in overrides:
        try:
            parsed = parser.parse_override(text)
        except HydraException as error:
            raise SuiteError(f"override {text!r}: {error}") from None
        if parsed.is_sweep_override():
            raise SuiteError(f"override {text!r}: sweeps are written as axes in the suite, not as a,b,c here")
        keys = parsed.key_or_group.replace("/", ".").split(".")
        added = parsed.is_add() or parsed.is_force_add()
        if len(keys) == 1 and keys[0] not in Suite.model_fields:
            raise unknown("key", keys[0], [*Suite.model_fields], f"override {text!r}")
        if keys[0] in ("arms", "axes", "claims") and len(keys) > 1 and not added:
            have = raw.get(keys[0], {})
            if keys[1] not in have:
                raise unknown(keys[0].rstrip("s"), keys[1], have, f"override {text!r}")
        node = raw
        for key in keys[:-1]:
            child = node.get(key)
            if not isinstance(child, dict):
                child = {}
            node[key] = child = dict(child)
            node = child
        if parsed.is_delete():
            if keys[-1] not in node:
                raise unknown("key to delete", keys[-1], node, f"override {text!r}")
            del node[keys[-1]]
        else:
            value = parsed.value()
            old = node.get(keys[-1])
            node[keys[-1]] = (
                merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
            )
    return raw


def explain(error: ValidationError, file: Path | str, overrides: Iterable[str] = ()) -> str:
    """One line per problem: file:line, key, value, what is valid."""
    lines = []
    for problem in error.errors():
        keys = [str(k) for k in problem["loc"] if not str(k).startswith(("function-", "dict[", "list["))]
        key = ".".join(keys) or "the suite"
        place = str(file)
        touched = [
            o
            for o in overrides
            if o.lstrip("+~").partition("=")[0].startswith(key)
            or key.startswith(o.lstrip("+~").partition("=")[0])
        ]
        if touched:
            place = f"override {touched[-1]!r}"
        elif line := _line_of(Path(file), keys):
            place = f"{file}:{line}"
        if problem["type"] == "extra_forbidden":
            parent = _fields_at(keys[:-1])
            lines.append(str(unknown("key", keys[-1], parent, f"{place}: {key}")))
        elif problem["type"] == "missing":
            lines.append(f"{place}: key {key!r} is missing")
        else:
            value = problem["input"]
            shown = f" (got {value!r})" if not isinstance(value, dict) else ""
            lines.append(f"{place}: key {key!r}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return "\n".join(lines)


def _fields_at(keys: Sequence[str]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
        "tuning": Tuning,
        "sweep": Sweep,
        "around": Around,
        "axes": Axis,
        "arms": Arm,
        "needs": Need,
        "sampler": Sampler,
        "space": Range,
    }
    for key in reversed(keys):
        if key in sections:
            return list(sections[key].model_fields)
    return list(Suite.model_fields)


def _line_of(file: Path, keys: Sequence[str]) -> int | None:
    """Line of the deepest of these keys that the file has."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError):
        return None
    line = None
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            break
        for name, child in node.value:
            if str(name.value) == key:
                line, node = name.start_mark.line + 1, child
                break
        else:
            break
    return line


def parse_only(text: str | None, suite: Suite) -> dict[str, set[str]]:
    """``arm=muon,size=d24`` -> {"arm": {"muon"}, "size": {"d24"}}; a repeated key adds values."""
    out: dict[str, set[str]] = {}
    for part in (text or "").split(","):
        if not part:
            continue
        key, equals, value = part.partition("=")
        if not equals:
            raise HarnessError(f"--only {part!r}: write key=value, keys: arm, {', '.join(suite.axes)}")
        valid = (
            suite.active_arms
            if key == "arm"
            else ({str(v) for v in suite.axes[key].patches()} if key in suite.axes else None)
        )
        if valid is None:
            raise unknown("key", key, ["arm", *suite.axes], "--only")
        if value not in valid:
            raise unknown(key, value, valid, "--only")
        out.setdefault(key, set()).add(value)
    return out

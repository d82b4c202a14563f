"""How a suite's files, a profile and the command line become one frozen value.

Hydra composes (see harness.planning.hydra); pydantic validates. Precedence: suite, then its profile section, then
the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from harness.errors import HarnessError, SuiteError, unknown
from harness.planning.hydra import SUFFIXES, composed, overridden, resolved, shipped_folder
from harness.planning.merging import merged
from harness.planning.suite import PROFILES, SHIPPED, Suite
from harness.reading import parse_yaml, read_text
from harness.validation import explained

NEVER_IN_A_FILE = frozenset({"first_seed", "pilot"})


def shipped() -> list[str]:
    """Names of the shipped suites."""
    return sorted(p.stem for p in shipped_folder().glob("*.yaml"))


def title_of(name: str) -> str:
    """A shipped suite's title, read without composing it."""
    file = shipped_folder() / f"{name}.yaml"
    return str(parse_yaml(read_text(file), str(file)).get("title", ""))


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Command-line words -> (suite names or paths, profile, other overrides)."""
    suites, profile, overrides = [], None, []
    for word in arguments:
        if word.startswith("profile="):
            if profile is not None:
                raise SuiteError(f"{word!r} after 'profile={profile}': give one profile")
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

    Raises SuiteError or ReadingError naming file, key, value, valid values and fix.
    """
    file = _find(name)
    raw = composed(file)
    profile = profile or str(raw.get("profile", "cpu"))
    profiles = raw.pop("profiles", None) or {}
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES, str(file))
    if not isinstance(profiles, Mapping):
        raise SuiteError(f"{file}: key 'profiles': a mapping of profile -> settings, found {profiles!r}")
    if profile not in profiles:
        have = ", ".join(sorted(map(str, profiles)))
        raise SuiteError(f"{file}: suite {file.stem!r} has no profile {profile!r}; it has {have}")
    patch = profiles[profile] or {}
    if not isinstance(patch, Mapping):
        raise SuiteError(f"{file}: key 'profiles.{profile}': a mapping of settings, found {patch!r}")
    raw = resolved(overridden(merged(raw, patch), overrides), file)
    if own := sorted(NEVER_IN_A_FILE & raw.keys()):
        raise SuiteError(f"{file}: key {own[0]!r}: set by the harness, not by a suite or an override; remove it")
    raw.update(name=file.stem, file=_short(file), profile=profile)
    try:
        return Suite.model_validate(raw)
    except ValidationError as error:
        raise SuiteError(explain(error, file, overrides)) from None


def _short(file: Path) -> str:
    return f"{SHIPPED}/{file.name}" if file.parent == shipped_folder() else str(file)


def _find(name: str) -> Path:
    path = Path(name)
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise SuiteError(f"{name}: no such suite file")
        return path.resolve()
    file = shipped_folder() / f"{name}.yaml"
    if not file.is_file():
        raise unknown("suite", name, shipped(), "give a shipped suite's name or a path ending in .yaml")
    return file


def explain(error: ValidationError, file: Path | str, overrides: Iterable[str] = ()) -> str:
    """One line per problem: the override or file:line, key, what is valid, value."""

    def place(keys: Sequence[str]) -> str:
        key = ".".join(keys)
        for override in reversed(list(overrides)):
            word = override.lstrip("+~").partition("=")[0]
            if key and (word.startswith(key) or key.startswith(word)):
                return f"override {override!r}"
        line = line_of(file, keys)
        return f"{file}:{line}" if line else str(file)

    return explained(error, Suite, place)


def line_of(file: Path | str, keys: Sequence[str]) -> int | None:
    """Line of the deepest of these keys that the file has."""
    file = Path(file)
    if file.parent == Path(SHIPPED):
        file = shipped_folder() / file.name
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

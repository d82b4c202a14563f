"""Overrides that change nothing: each is an error that says what wins over it, before anything is paid for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import SuiteError
from harness.planning.compose import line_of, load
from harness.planning.suite import Suite

SECTIONS = ("base", "arms")
"""Where an override speaks of trials' configs; the other keys change the suite itself."""


def load_checked(name: str, profile: str | None, overrides: Sequence[str]) -> Suite:
    """The suite, see :func:`harness.planning.compose.load`. Raises SuiteError for an override without effect."""
    suite = load(name, profile, overrides)
    for text in overrides:
        keys = text.lstrip("+~").partition("=")[0].replace("/", ".").split(".")
        if keys[0] in SECTIONS and len(keys) > 1:
            others = [o for o in overrides if o is not text]
            _refuse_idle(suite, load(name, profile, others), text, keys)
    return suite


def _refuse_idle(suite: Suite, without: Suite, text: str, keys: Sequence[str]) -> None:
    same_suite = suite.model_dump(mode="json") == without.model_dump(mode="json")
    if same_suite or _configs(suite) != _configs(without):
        return
    raise SuiteError(f"override {text!r} changes no trial of profile {suite.profile}: {_winner(suite, keys)}")


def _configs(suite: Suite) -> list[Any]:
    """What decides each arm's trials in each cell: the config without what a search sets, and that search."""
    out: list[Any] = []
    for name, arm in suite.active_arms.items():
        about = arm.model_dump(mode="json", exclude={"describe", *arm.patch})
        for cell, patch in suite.cells(name):
            raw = suite.config(name, patch)
            timed = suite.config(name, patch, timed=True) if suite.timing else {}
            out.append((name, cell, _without(raw, _searched(suite, name)), timed, about))
    return out


def _searched(suite: Suite, arm: str) -> list[str]:
    """Config paths that tuning, a sweep or another arm's hyperparameters set for this arm."""
    search = suite.tuning or suite.sweep
    if search is None:
        return []
    source = suite.arms[arm].hyperparameters.get("from", arm)
    return [*search.space, *suite.arms[source].space]


def _without(raw: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    out = dict(raw)
    for path in paths:
        key, _, rest = path.partition(".")
        if rest and isinstance(out.get(key), Mapping):
            out[key] = _without(out[key], [rest])
        elif not rest:
            out.pop(key, None)
    return out


def _has(patch: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(patch, Mapping) or key not in patch:
            return False
        patch = patch[key]
    return True


def _winner(suite: Suite, keys: Sequence[str]) -> str:
    """What sets the value in its place, with its line where the suite's own file has it."""
    if keys[0] == "arms" and keys[1] not in suite.active_arms:
        return f"it does not run arm {keys[1]!r}; it runs {', '.join(suite.active_arms)}"
    path = list(keys[2:] if keys[0] == "arms" else keys[1:])
    arms = [keys[1]] if keys[0] == "arms" else list(suite.active_arms)
    places: list[list[str]] = []
    if all(".".join(path) in _searched(suite, a) for a in arms):
        own = next((a for a in arms if ".".join(path) in suite.arms[a].space), None)
        places.append(["arms", own, "space"] if own else ["tuning" if suite.tuning else "sweep", "space"])
    for axis, about in suite.axes.items():
        if any(_has(patch, path) for patch in about.patches().values()):
            places.append(["axes", axis])
    if keys[0] == "base" and all(_has(suite.arms[a].patch, path) for a in arms):
        places.append(["arms", arms[0], *path])
    if not places:
        return "nothing reads it"
    place = places[0]
    line = line_of(suite.file, place)
    return f"{suite.file}{f':{line}' if line else ''}: key {'.'.join(place)!r} sets it and wins"

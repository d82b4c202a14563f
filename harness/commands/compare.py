"""A new method beside a suite's tuned baselines: the same budget, the same seeds, the cached baselines."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from harness import registry
from harness.errors import HarnessError, PluginError, unknown
from harness.planning import compose
from harness.planning.suite import Suite


def with_method(base: Suite, kind: str, name: str, against: Sequence[str]) -> Suite:
    """The suite with one more arm of this method, tuned like the others, and claims of its difference to each.

    The new arm takes the first arm's config and replaces the method's section. Raises HarnessError if the
    suite's workload has no such section or an arm to compare with does not exist.
    """
    candidates = [a for a, arm in base.active_arms.items() if not arm.hyperparameters and not arm.timing_only]
    for rival in against:
        if rival not in base.arms:
            raise unknown("arm", rival, base.arms, "--against")
    rivals = list(against) or candidates
    if name in base.arms:
        raise HarnessError(f"suite {base.name!r} has an arm {name!r} already; rename the method's file")
    template = base.arms[candidates[0]].patch
    if kind not in template and kind not in base.base:
        raise HarnessError(f"suite {base.name!r} compares {', '.join(template)}; your method is a {kind}")
    cls = registry.method_class(kind, name)
    arm: dict[str, Any] = {**template, kind: {"name": name}, "describe": f"{kind} {name} (new)"}
    if base.tuning or base.sweep:
        space = _space(cls, kind)
        if space:
            arm["space"] = space
    raw = base.model_dump(mode="json")
    raw["arms"] = {**{a: raw["arms"][a] for a in base.arms}, name: arm}
    raw["use"] = {**raw["use"], "arm": [*rivals, *_sources(base, rivals), name]}
    raw["name"] = f"{base.name}_with_{name}"
    raw["timing"] = {}
    raw["claims"] = {}
    cells = len(base.cells(rivals[0]))
    for rival in rivals:
        said = f"{name} ends below {rival}'s loss, both tuned with the same budget"
        common = {
            "source": "this comparison", "place": "", "kind": "direction", "confirmatory": True,
            "made_at": {"tuning": "as here"},
        }  # fmt: skip
        raw["claims"][f"{name}_below_{rival}"] = {
            **common, "says": said, "expects": {"below": 0.0},
            "estimator": {"name": "mean_difference", "arm": name, "baseline": rival, "metric": "test_loss"},
        }  # fmt: skip
        if cells >= 4:
            raw["claims"][f"{name}_compute_ratio_{rival}"] = {
                **common, "says": f"{name} reaches {rival}'s loss with less compute", "expects": {"below": 1.0},
                "confirmatory": False,
                "estimator": {"name": "compute_ratio", "arm": name, "baseline": rival, "metric": "test_loss"},
            }  # fmt: skip
    return Suite.model_validate(raw)


def _sources(base: Suite, arms: Sequence[str]) -> list[str]:
    found = [base.arms[a].hyperparameters.get("from") for a in arms]
    return [f for f in found if f and f not in arms]


def _space(cls: type, kind: str) -> dict[str, Any]:
    """The method's own search space as ranges on octave grids."""
    out: dict[str, Any] = {}
    known = {f.name for f in dataclasses.fields(cls)}
    for field, (low, high, scale) in getattr(cls, "search_space", {}).items():
        if field not in known:
            raise PluginError(f"search_space of {cls.__name__}: no field {field!r}; fields: {sorted(known)}")
        if scale != "log2":
            raise PluginError(f"search_space of {cls.__name__}, field {field!r}: scale {scale!r}; valid: 'log2'")
        out[f"{kind}.{field}"] = {"log2": [round(math.log2(low)), round(math.log2(high))]}
    return out


def compare(
    method: Path, suite_name: str, words: Sequence[str], against: str, results: Path, executor: str,
    workers: int | None,
) -> int:
    """Check, tune, evaluate and report the method of this file; the exit code."""
    from harness.commands import checks, console
    from harness.report import gather

    if not suite_name:
        raise HarnessError(f"--suite is needed: one of {', '.join(compose.shipped())}")
    problems = checks.check_plugins([method])
    if problems:
        raise PluginError("\n".join(problems))
    entry = registry.load_plugin(method)[0]
    names, profile, overrides = compose.split_arguments(words)
    if names:
        raise HarnessError(f"unexpected {names}; after the method's file come profile=... and overrides")
    base = compose.load(suite_name, profile, overrides)
    chosen = with_method(base, entry.kind, entry.name, [a for a in against.split(",") if a])
    code = console.run_command([chosen], results, None, executor, workers, track=False, quiet=False)
    folder = results / "compare" / chosen.name
    built = gather.report(results, chosen.profile, [chosen.name], folder=folder)
    shutil.copy2(method, folder / method.name)
    typer.echo(gather.ledger_text(built))
    typer.echo(f"report, tables and the method's source: {folder}")
    return code

"""A suite with one more arm: the user's method, tuned like the others, and claims of its difference to each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from harness import registry
from harness.analysis import lookup
from harness.errors import HarnessError, PluginError, unknown
from harness.planning.suite import Suite
from harness.workload import workload_module


def with_method(base: Suite, kind: str, name: str, against: Sequence[str]) -> Suite:
    """The suite with an arm of this method, which takes the first arm's config and replaces the method's section.

    Raises HarnessError if the suite's workload has no such section or an arm to compare with does not exist.
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
    arm: dict[str, Any] = {**template, kind: {"name": name}, "describe": f"{kind} {name} (new)"}
    if (base.tuning or base.sweep) and (space := search_space(registry.method_class(kind, name), kind)):
        arm["space"] = space
    raw = base.model_dump(mode="json")
    raw["name"] = f"{base.name}_with_{name}"
    raw["arms"] = {**raw["arms"], name: arm}
    raw["use"] = {**raw["use"], "arm": [*rivals, *_sources(base, rivals), name]}
    raw["timing"] = None
    raw["pilot"] = f"a comparison with {', '.join(rivals)}, whose numbers may be known already"
    raw["claims"] = _claims(base, name, rivals)
    return Suite.model_validate(raw)


def _claims(base: Suite, name: str, rivals: Sequence[str]) -> dict[str, Any]:
    """Of each rival: does the new arm end below it, and, over enough sizes, with which share of its compute."""
    metric, label = _decisive(base.workload)
    common = {"source": "this comparison", "place": "", "kind": "direction", "made_at": {"tuning": "as here"}}
    claims: dict[str, Any] = {}
    for rival in rivals:
        arguments = {"arm": name, "baseline": rival, "metric": metric}
        claims[f"{name}_below_{rival}"] = {
            **common,
            "says": f"{name} ends below {rival}'s {label}, both tuned with the same budget",
            "expects": {"below": 0.0},
            "confirmatory": True,
            "estimator": {"name": "mean_difference", **arguments},
        }
        if len(base.cells(rival)) >= lookup.facts("compute_ratio").least_sizes:
            claims[f"{name}_compute_ratio_{rival}"] = {
                **common,
                "says": f"{name} reaches {rival}'s {label} with less compute",
                "expects": {"below": 1.0},
                "confirmatory": False,
                "estimator": {"name": "compute_ratio", **arguments},
            }
    return claims


def _decisive(workload: str) -> tuple[str, str]:
    """The metric that a comparison is about, with its label: the first that tables show and the gate compares."""
    metrics = workload_module(workload).METRICS
    return next((name, m.label) for name, m in metrics.items() if m.shown and m.compared)


def _sources(base: Suite, arms: Sequence[str]) -> list[str]:
    found = [base.arms[a].hyperparameters.get("from") for a in arms]
    return [f for f in found if f and f not in arms]


def search_space(cls: type, kind: str) -> dict[str, Any]:
    """The method's own search space as ranges on octave grids. Raises PluginError naming class, field and value."""
    out: dict[str, Any] = {}
    known = {f.name for f in dataclasses.fields(cls)}
    for field, (low, high, scale) in getattr(cls, "search_space", {}).items():
        if field not in known:
            raise PluginError(f"search_space of {cls.__name__}: no field {field!r}; fields: {sorted(known)}")
        if scale != "log2":
            raise PluginError(f"search_space of {cls.__name__}, field {field!r}: scale {scale!r}; valid: 'log2'")
        out[f"{kind}.{field}"] = {"log2": [round(math.log2(low)), round(math.log2(high))]}
    return out

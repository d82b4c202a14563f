"""Every mistake of a suite or a plug-in that can be found without running a trial; and what a suite could see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import inheritance, registry
from harness.errors import HarnessError
from harness.planning.plan import make_plan
from harness.planning.suite import Suite
from harness.records.record import RecordSet
from harness.workload import workload_module


def check_suite(suite: Suite) -> list[str]:
    """Problems in words, figures apart, which the report knows; empty where the suite is fine."""
    problems = []
    try:
        plan = make_plan(suite, RecordSet(), None)
        problems += [f"{suite.name}: {n}" for n in plan.notes if n.startswith("nothing to run")]
        problems += [p for source in plan.sources for p in _absent(source, suite.file)]
    except HarnessError as error:
        problems.append(str(error))
    problems += _claims(suite)
    problems += _probes(suite)
    return problems


def _absent(source: Mapping[str, Any], where: str) -> list[str]:
    """Files and folders of the user's that are not there; nothing is read."""
    if source.get("path") is None:
        return []
    given = {key: str(source[key]) for key in ("path", "validation", "test") if source.get(key) is not None}
    return [
        f"{where}: data.{key}: {path}: no such file or folder (in {Path.cwd()})"
        for key, path in given.items()
        if not Path(path).expanduser().exists()
    ]


def _claims(suite: Suite) -> list[str]:
    from harness.analysis.claims import load_claims
    from harness.analysis.power import check_claim, facts_of

    try:
        claims = load_claims(suite.claims, suite.file, workload_module(suite.workload).METRICS)
    except HarnessError as error:
        return [str(error)]
    problems = []
    for claim in claims:
        try:
            check_claim(claim, facts_of(suite))
        except HarnessError as error:
            problems.append(f"{suite.file}: {error}")
    return problems


def _probes(suite: Suite) -> list[str]:
    from harness.probes import build

    problems = []
    for name, settings in suite.probes.items():
        try:
            build(name, settings)
        except HarnessError as error:
            problems.append(f"{suite.file}: probes.{name}: {error}")
    return problems


def check_plugins(paths: Sequence[Path]) -> list[str]:
    """Breaches of contract of the methods in these files."""
    from harness import contracts

    problems = []
    for path in paths:
        try:
            found = registry.load_plugin(path)
        except HarnessError as error:
            problems.append(str(error))
            continue
        # `compare` runs trials from this very process afterwards.
        with inheritance.kept():
            for entry in found:
                problems += [f"{path}: {p}" for p in contracts.check_method(entry.kind, entry.name)]
    return problems


def expected_effects(suite: Suite, results: Path = Path("results")) -> list[str]:
    """A line for each confirmatory claim: what the planned seeds would see at 80 % power.

    The noise is the committed reference's; planning values from prototypes where there is none yet.
    """
    from harness.analysis.claims import load_claims
    from harness.analysis.power import facts_of, noise_of_claim, planned_power
    from harness.records.frames import trials_frame
    from harness.records.reference import read_reference, reference_path
    from harness.records.store import Store

    if suite.profile == "smoke":
        return ["profile smoke gives no verdict"] if suite.claims else []
    facts = facts_of(suite)
    store, frame = Store(results), None
    if reference_path(store, suite.name, suite.profile).is_file():
        frame = trials_frame(read_reference(store, suite.name, suite.profile)[1])
    lines = []
    for claim in load_claims(suite.claims, suite.file, workload_module(suite.workload).METRICS):
        arms = [a for k in ("arm", "baseline") if (a := claim.estimator.get(k)) is not None]
        if not claim.confirmatory or not set(arms) <= set(facts.sizes):
            continue
        sizes, seeds = min(facts.sizes[a] for a in arms), min(facts.seeds[a] for a in arms)
        pool = len(claim.estimator.get("pool", [])) or 1
        noise = None if frame is None else noise_of_claim(claim, frame, list(suite.axes))
        source = "planning values" if noise is None else "the committed reference's noise"
        seen = planned_power(
            claim, sizes, seeds, noise, tests=facts.num_confirmatory, arms=pool, profile=suite.profile
        )
        if seen is not None:
            lines.append(f"claim {claim.id}: with {sizes} sizes x {seeds} seeds (by {source}) {seen.text}")
    return lines

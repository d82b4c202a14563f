"""Every mistake of a suite or a plug-in that can be found without running a trial; and what a suite could see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import registry
from harness.errors import HarnessError
from harness.plan import make_plan
from harness.store import Shelf
from harness.suite import Suite


def check_suite(suite: Suite, results: Path) -> list[str]:
    """Problems in words; empty where the suite is fine."""
    problems = []
    try:
        plan = make_plan(suite, Shelf(), None)
        problems += [f"{suite.name}: {n}" for n in plan.notes if n.startswith("nothing to run")]
    except HarnessError as error:
        problems.append(str(error))
    problems += _claims(suite)
    problems += _figures(suite)
    problems += _probes(suite)
    return problems


def _claims(suite: Suite) -> list[str]:
    from harness.analysis.claims import load_claims
    from harness.analysis.power import check_claim

    try:
        claims = load_claims(suite.claims, suite.file)
    except HarnessError as error:
        return [str(error)]
    arms = {a for a, arm in suite.active_arms.items() if not arm.timing_only}
    problems = []
    for claim in claims:
        named = [claim.estimator[k] for k in ("arm", "baseline") if isinstance(claim.estimator.get(k), str)]
        for arm in named:
            if arm not in suite.arms:
                problems.append(f"{suite.file}: claim {claim.id!r}: unknown arm {arm!r}; arms: {sorted(arms)}")
        if suite.profile == "smoke" or not claim.confirmatory or not set(named) <= arms:
            continue
        cells = len(suite.cells(named[0])) if named else 0
        seeds = min((suite.arms[a].seeds or suite.seeds for a in named), default=suite.seeds)
        try:
            check_claim(claim, num_sizes=cells, num_seeds=seeds, num_confirmatory=sum(c.confirmatory for c in claims))
        except HarnessError as error:
            problems.append(f"{suite.file}: {error}")
    return problems


def _figures(suite: Suite) -> list[str]:
    from harness.errors import unknown
    from harness.report.figures import KINDS

    return [
        str(unknown("figure", str(f.get("kind")), KINDS, f"{suite.file}: figures"))
        for f in suite.figures
        if f.get("kind") not in KINDS
    ]


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
        for entry in found:
            problems += [f"{path}: {p}" for p in contracts.check_method(entry.kind, entry.name)]
    return problems


def expected_effects(suite: Suite, results: Path = Path("results")) -> list[str]:
    """A line for each confirmatory claim: the smallest effect that the planned seeds could see, from the noise
    of the committed reference; empty where there is none."""
    from harness.analysis.claims import load_claims
    from harness.analysis.power import planned_lines
    from harness.store import Store, trials_frame

    store = Store(results)
    if not suite.claims or not store.reference_path(suite.name, suite.profile).is_file():
        return []
    _, rows = store.read_reference(suite.name, suite.profile)
    return planned_lines(load_claims(suite.claims, suite.file), trials_frame(rows), profile=suite.profile)

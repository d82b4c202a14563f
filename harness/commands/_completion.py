"""What the shell offers after a Tab. Called in a process of its own a key press, so everything is imported late."""

from __future__ import annotations

from collections.abc import Iterable

import typer

PROFILE = "profile="


def words(ctx: typer.Context, incomplete: str) -> list[str]:
    """Suites, ``all``, and ``profile=...`` with its values."""
    from harness.planning.compose import shipped
    from harness.planning.suite import PROFILES

    # Bash splits words at '=', and hands over a sign that is being typed as nothing typed yet.
    before = "".join((ctx.params.get("words") or [])[-2:])
    if before.endswith(("profile", PROFILE)):
        return starting(PROFILES, incomplete)
    if incomplete.startswith(PROFILE):
        return starting((PROFILE + p for p in PROFILES), incomplete)
    return starting([*shipped(), "all", PROFILE], incomplete)


def kinds(incomplete: str) -> list[str]:
    """What ``harness list`` takes."""
    from harness.commands import _kinds

    return starting(["all", "methods", *(kind.plural for kind in _kinds.kinds().values())], incomplete)


def things(ctx: typer.Context, incomplete: str) -> list[str]:
    """What ``harness show`` takes: ``KIND.NAME``, once the kind is there its names; or a suite."""
    from harness.commands import _kinds

    if ctx.params.get("words"):
        return words(ctx, incomplete)
    known = _kinds.kinds()
    kind, dot, _ = incomplete.partition(".")
    if dot and kind in known:
        return starting((f"{kind}.{entry.name}" for entry in known[kind].entries()), incomplete)
    offered = starting((f"{kind.name}." for kind in known.values() if kind.describe), incomplete)
    return [*offered, *starting(["suite"], incomplete), *words(ctx, incomplete)]


def estimators(incomplete: str) -> list[str]:
    """Names of estimators."""
    from harness.analysis import lookup

    return starting(lookup.names(), incomplete)


def executors(incomplete: str) -> list[str]:
    """Names of executors."""
    from harness.commands import _kinds

    return starting((e.name for e in _kinds.kinds()["executor"].entries()), incomplete)


def data(incomplete: str) -> list[str]:
    """Embedded data, and the keys that a data set may have."""
    from harness.data import spec

    return starting([*spec.EMBEDDED, *(f"{key}=" for key in spec.DataSpec.model_fields)], incomplete)


def starting(names: Iterable[str], incomplete: str) -> list[str]:
    """Those that begin with what is typed."""
    return [name for name in names if name.startswith(incomplete)]

"""Registration: a suite's design, claims and analysis code are put down before the trials that could decide them.

An append-only file of entries, each chained to the one before it by its hash, one chain a suite and profile. A
record names the entry that it ran under, and order means that hash, never a clock. A design that changes after
records exist takes evaluation seeds that no earlier design used, and needs a reason. Smoke, pilots and runs with
overrides register nothing: their seeds are a range of their own, which never enters a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.errors import SuiteError
from harness.fingerprint import fingerprint
from harness.planning.suite import Suite
from harness.trial import digest

RANGE = 10_000
"""Seed indices set apart for one design."""
PILOT_SEEDS = 1_000_000
"""First evaluation seed of whatever registers nothing."""
NO_VERDICT = ("smoke",)
"""Profiles that check the plumbing."""
PROSE = (
    "file", "title", "question", "sources", "note", "budget_minutes", "timeout_seconds", "figures", "first_seed",
)  # fmt: skip
"""Keys of a suite that decide neither a number nor a verdict."""
HASH_LENGTH = 32

Ledger = list[dict[str, Any]]
"""What a design left: id, estimate, ci95 and verdict of each of its claims."""


class Entry(BaseModel):
    """One line of the file; never rewritten, never removed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    profile: str
    kind: Literal["design", "analysis", "history"]
    """design: what is to be run; analysis: other code judges the same design; history: told in retrospect."""
    design: dict[str, Any]
    """The resolved suite without its prose; for history, what is known of it in words."""
    design_digest: str
    analysis_digest: str
    """Of the code that judges, see :func:`analysis_digest`; empty for history."""
    first_seed: int
    """First evaluation seed index of its range."""
    reason: str = ""
    """Why the design changed after records existed."""
    superseded: Ledger = []
    """What the entry before this one left."""
    previous: str = ""
    """Hash of the chain's entry before this one."""
    at: str
    """UTC; told, never relied on."""
    commit: str = ""

    @property
    def hash(self) -> str:
        """Digest of all that the entry says, its predecessor's hash included."""
        return digest(self.model_dump(mode="json"))[:HASH_LENGTH]


@dataclass(frozen=True)
class Registrations:
    """All chains of a store, verified."""

    chains: Mapping[tuple[str, str], Sequence[Entry]] = field(default_factory=dict)

    def chain(self, suite: str, profile: str) -> Sequence[Entry]:
        """The entries of a suite and profile, oldest first."""
        return self.chains.get((suite, profile), ())

    def current(self, suite: Suite) -> Entry | None:
        """The newest entry of the suite's own design; None where it is not registered as it stands."""
        chain = self.chain(suite.name, suite.profile)
        return chain[-1] if chain and chain[-1].design_digest == design_digest(suite) else None

    def accepted(self, suite: Suite) -> frozenset[str]:
        """Hashes under which a record of this very design may have run."""
        wanted = design_digest(suite)
        entries = self.chain(suite.name, suite.profile)
        return frozenset(e.hash for e in entries if e.kind != "history" and e.design_digest == wanted)

    def unused_seed(self) -> int:
        """First seed of the next range that no design of any suite has had."""
        used = [e.first_seed // RANGE for chain in self.chains.values() for e in chain]
        return RANGE * (max(used, default=-1) + 1)

    def earlier_designs(self, suite: str, profile: str) -> list[Entry]:
        """Entries that opened a design, the newest last."""
        return [e for e in self.chain(suite, profile) if e.kind in ("design", "history")]


# --- what is registered ------------------------------------------------------------------------------------


def design_of(suite: Suite) -> dict[str, Any]:
    """The resolved suite without the prose round it: whatever may change a number or a verdict."""
    fields = suite.model_dump(mode="json", exclude_defaults=True)
    for key in PROSE:
        fields.pop(key, None)
    arms = {
        name: {k: v for k, v in arm.items() if k != "describe"}
        for name, arm in fields.get("arms", {}).items()
        if name in suite.active_arms
    }
    claims = {name: {k: v for k, v in c.items() if k != "note"} for name, c in fields.get("claims", {}).items()}
    return {**fields, "arms": arms, "claims": claims}


def design_digest(suite: Suite) -> str:
    """Digest of :func:`design_of`."""
    return digest(design_of(suite))[:HASH_LENGTH]


@cache
def analysis_digest() -> str:
    """Digest of all code that turns records into verdicts."""
    folder = Path(str(resources.files("harness.analysis")))
    names = [
        "harness.analysis." + ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in sorted(folder.rglob("*.py"))
        if path.name != "__init__.py"
    ]
    return digest(fingerprint(names))[:HASH_LENGTH]


# --- chains ------------------------------------------------------------------------------------------------


def chained(entries: Iterable[Entry], where: str = "registrations") -> Registrations:
    """Entries of several files as chains. SuiteError naming the entry where one is missing, altered or forks."""
    by_chain: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in entries:
        by_chain.setdefault((entry.suite, entry.profile), {})[entry.hash] = entry
    return Registrations({key: _ordered(found, key, where) for key, found in by_chain.items()})


def _ordered(found: Mapping[str, Entry], key: tuple[str, str], where: str) -> list[Entry]:
    name = f"{where}: chain {key[0]} ({key[1]})"
    after: dict[str, Entry] = {}
    for entry in found.values():
        other = after.setdefault(entry.previous, entry)
        if other is not entry:
            raise SuiteError(
                f"{name} forks: entries {other.hash[:12]} and {entry.hash[:12]} both follow "
                f"{entry.previous[:12] or 'nothing'}; two results folders registered apart from each other: keep "
                "one folder's registrations, and run the other's design again under them"
            )
    out: list[Entry] = []
    while (next_ := after.get(out[-1].hash if out else "")) is not None:
        out.append(next_)
    if len(out) < len(found):
        lost = next(e for e in found.values() if e not in out)
        raise SuiteError(
            f"{name} is broken: entry {lost.hash[:12]} follows {lost.previous[:12]}, which is not there or was "
            "altered; restore the file from version control: an entry is never changed or removed"
        )
    return out


# --- seeds and entries of a run ----------------------------------------------------------------------------


def with_seeds(suites: Sequence[Suite], registrations: Registrations, pilot: bool = False) -> list[Suite]:
    """The suites with the range of their evaluation seeds: registered, about to be, or a pilot's."""
    fresh = registrations.unused_seed()
    out = []
    for suite in suites:
        if pilot or suite.profile in NO_VERDICT:
            seed = PILOT_SEEDS
        else:
            entry = registrations.current(suite)
            seed = entry.first_seed if entry else fresh
        out.append(suite.model_copy(update={"first_seed": seed}))
    return out


def entries_for(
    suites: Sequence[Suite],
    registrations: Registrations,
    *,
    has_records: Callable[[Entry], bool],
    ledger: Callable[[Entry], Ledger] = lambda entry: [],
    reason: str = "",
    at: str = "",
    commit: str = "",
) -> list[Entry]:
    """The entries to append before these suites' first trial, in order; none for what is registered as it stands.

    ``has_records`` says whether trials ran under an entry, ``ledger`` what they left. Raises SuiteError where a
    design changed after records exist and no reason is given.
    """
    fresh = registrations.unused_seed()
    out = []
    for suite in suites:
        if suite.profile in NO_VERDICT:
            continue
        chain = registrations.chain(suite.name, suite.profile)
        last = chain[-1] if chain else None
        entry = Entry(
            suite=suite.name, profile=suite.profile, kind="design", design=design_of(suite),
            design_digest=design_digest(suite), analysis_digest=analysis_digest(), first_seed=fresh,
            reason=reason, previous=last.hash if last else "", at=at, commit=commit,
        )  # fmt: skip
        if last is None:
            out.append(entry)
        elif last.design_digest == entry.design_digest:
            if last.analysis_digest != entry.analysis_digest:
                same = {"kind": "analysis", "design": {}, "first_seed": last.first_seed}
                out.append(entry.model_copy(update={**same, "superseded": ledger(last)}))
        elif last.kind == "history" or any(has_records(e) for e in chain if e.design_digest == last.design_digest):
            if not reason.strip():
                designs = [e for e in chain if e.kind == "design"]
                what = ", ".join(changed(designs[-1].design, entry.design)) if designs else ""
                raise SuiteError(
                    f"{suite.name} ({suite.profile}): {what or 'its design'} changed after "
                    f"records exist; the new design is registered beside the old one, whose ledger stays, and "
                    f"takes fresh evaluation seeds (from {fresh} on): say why with --reason '...', or try it with "
                    "--pilot"
                )
            out.append(entry.model_copy(update={"superseded": ledger(last)}))
        else:
            out.append(entry.model_copy(update={"first_seed": last.first_seed}))
    return out


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Paths at which two designs differ, the first few."""
    found: list[str] = []

    def walk(a: Any, b: Any, path: str) -> None:
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            for key in sorted({*a, *b}, key=str):
                walk(a.get(key), b.get(key), f"{path}.{key}" if path else str(key))
        elif a != b:
            found.append(path)

    walk(old, new, "")
    return [*found[:4], *([f"{len(found) - 4} more"] if len(found) > 4 else [])]

"""Registration: a suite's design, claims and analysis code are put down before the trials that could decide them.

An append-only file of entries, each chained to the one before it by its hash, one chain a suite and profile. A
record names the entry that it ran under, and order means that hash, never a clock. A changed design takes
evaluation seeds that no earlier design used, and needs a reason where records exist. Smoke, pilots and runs with
overrides register nothing: their seeds are a range of their own, which never enters a verdict.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.errors import SuiteError
from harness.fingerprint import fingerprint
from harness.planning.suite import Suite
from harness.records.record import Planned
from harness.trial import digest

RANGE = 10_000
"""Seed indices set apart for one design; those of the first range belong to whatever registers nothing."""
NO_VERDICT = ("smoke",)
"""Profiles that check the plumbing."""
PROSE = (
    "file", "title", "question", "sources", "note", "budget_minutes", "timeout_seconds", "figures", "first_seed",
    "pilot",
)  # fmt: skip
"""Keys of a suite that decide neither a number nor a verdict."""
HASH_LENGTH = 32
ANALYSIS = "harness.analysis."
JUDGES = (f"{ANALYSIS}claims", "harness.planning.judging", "harness.records.frames")
"""Code that every verdict passes: claims, and how rows become what estimators read."""
SAME = 0.01
"""Share of an interval within which two estimates are one: sums in another order, a reference's rounded curves."""

Ledger = list[dict[str, Any]]
"""What a design left: id, estimate, ci95 and verdict of each of its claims."""


class Entry(BaseModel):
    """One line of the file; never rewritten, never removed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    """The suite's key, as its plan is stored under."""
    profile: str
    kind: Literal["design", "analysis", "history"]
    """design: what is to be run; analysis: other code judges the same design; history: told in retrospect."""
    design: dict[str, Any]
    """The resolved suite without its prose; for history, what is known: ``told`` in words, and its ``ledger``."""
    design_digest: str
    analysis_digest: str
    """Of the code that judges its claims, see :func:`analysis_digest`; empty for history."""
    first_seed: int
    """First evaluation seed index of its range."""
    reason: str = ""
    """Why the design, or what other code makes of its records, changed after records existed."""
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
        chain = self.chain(suite.key, suite.profile)
        return chain[-1] if chain and chain[-1].design_digest == design_digest(suite) else None

    def accepted(self, suite: Suite) -> frozenset[str]:
        """Hashes under which a record of this very design may have run."""
        wanted = design_digest(suite)
        entries = self.chain(suite.key, suite.profile)
        return frozenset(e.hash for e in entries if e.kind != "history" and e.design_digest == wanted)

    def unused_seed(self) -> int:
        """First seed of the next range that no design of any suite has had."""
        used = [e.first_seed // RANGE for chain in self.chains.values() for e in chain]
        return RANGE * (max(used, default=0) + 1)


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


def analysis_digest(suite: Suite) -> str:
    """Digest of the code that makes verdicts of the suite's records: its estimators', and what all claims pass."""
    return _analysis_digest(tuple(sorted({str(c["estimator"]["name"]) for c in suite.claims.values()})))


@cache
def _analysis_digest(estimators: tuple[str, ...]) -> str:
    from harness.analysis import lookup

    code = fingerprint([*JUDGES, *(lookup.find(name).function.__module__ for name in estimators)])
    return digest({m: d for m, d in code.items() if m.startswith(ANALYSIS) or m in JUDGES})[:HASH_LENGTH]


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


def history_of(chain: Sequence[Entry]) -> list[dict[str, Any]]:
    """What came before a chain's newest design, oldest first: ``design`` (how it is called), ``kind`` (design or
    analysis: what superseded it), ``reason``, ``ledger`` (what it left)."""
    out, number = [], 0
    for last, entry in itertools.pairwise(chain):
        number += last.kind != "analysis"
        told = "told in retrospect" if last.kind == "history" else f"registered as {last.hash[:12]}"
        where = f", commit {last.commit[:7]}" if last.commit else ""
        again = " by earlier analysis code" if entry.kind == "analysis" else ""
        name = f"design {number}{again} ({told}{where}, seeds from {last.first_seed} on)"
        kind = "analysis" if entry.kind == "analysis" else "design"
        out.append({"design": name, "kind": kind, "reason": entry.reason, "ledger": entry.superseded})
    return out


# --- seeds and entries of a run ----------------------------------------------------------------------------


def registers(suite: Suite) -> bool:
    """Whether runs of this suite can give a verdict, and so have to be registered."""
    return not suite.pilot and suite.profile not in NO_VERDICT


def with_seeds(suites: Sequence[Suite], registrations: Registrations) -> list[Suite]:
    """The suites with the range of their evaluation seeds: registered, about to be, or a pilot's."""
    fresh = registrations.unused_seed()
    out = []
    for suite in suites:
        entry = registrations.current(suite)
        seed = 0 if not registers(suite) else entry.first_seed if entry else fresh
        out.append(suite.model_copy(update={"first_seed": seed}))
    return out


@dataclass(frozen=True, kw_only=True)
class Under:
    """What a suite's trials run under."""

    entry: str
    """Hash of the registration entry."""
    suite: str
    """Name of the suite that it registered."""
    arms: frozenset[str] | None = None
    """Those that it registered; None: all that the suite plans."""

    def of(self, planned: Planned) -> dict[str, str]:
        """What the record of a planned trial keeps: suite -> hash."""
        return {self.suite: self.entry} if self.arms is None or planned.arm in self.arms else {}


def entries_for(
    suites: Sequence[Suite],
    registrations: Registrations,
    *,
    has_records: Callable[[Suite, frozenset[str]], bool],
    ledger: Callable[[Suite, Entry], Ledger] = lambda suite, entry: [],
    ledger_now: Callable[[Suite, Entry], Ledger] = lambda suite, entry: [],
    reason: str = "",
    at: str = "",
    commit: str = "",
) -> list[Entry]:
    """The entries to append before these suites' first trial, in order; none for what is registered as it stands.

    ``has_records`` says whether trials of a suite ran under one of these entries, ``ledger`` what an entry left,
    ``ledger_now`` what the present code makes of its records. Raises SuiteError where a design changed after
    records exist, or other analysis code gives other results, and no reason is given.
    """
    fresh = registrations.unused_seed()
    out = []
    for suite in suites:
        if not registers(suite):
            continue
        chain = registrations.chain(suite.key, suite.profile)
        last = chain[-1] if chain else None
        entry = Entry(
            suite=suite.key, profile=suite.profile, kind="design", design=design_of(suite),
            design_digest=design_digest(suite), analysis_digest=analysis_digest(suite), first_seed=fresh,
            reason=reason.strip(), previous=last.hash if last else "", at=at, commit=commit,
        )  # fmt: skip
        if last is None:
            out.append(entry)
        elif last.design_digest != entry.design_digest:
            _need_reason(suite, chain, entry, has_records)
            out.append(entry.model_copy(update={"superseded": ledger(suite, last)}))
        elif last.analysis_digest != entry.analysis_digest:
            left = ledger(suite, last)
            moved = differences(left, ledger_now(suite, last))
            if moved and not entry.reason:
                raise SuiteError(
                    f"{suite.name} ({suite.profile}): the code that judges its records changed, and with it "
                    f"{'; '.join(moved[:3])}: say why with --reason '...'; both ledgers are kept"
                )
            same = {"kind": "analysis", "design": {}, "first_seed": last.first_seed, "superseded": left}
            out.append(entry.model_copy(update=same))
    return out


def _need_reason(
    suite: Suite, chain: Sequence[Entry], entry: Entry, has_records: Callable[[Suite, frozenset[str]], bool]
) -> None:
    """SuiteError where the chain's last design left records and no reason is given for another."""
    last = chain[-1]
    under = frozenset(e.hash for e in chain if e.design_digest == last.design_digest)
    if entry.reason or not (last.kind == "history" or has_records(suite, under)):
        return
    designs = [e for e in chain if e.kind == "design"]
    what = ", ".join(changed(designs[-1].design, entry.design)) if designs else ""
    raise SuiteError(
        f"{suite.name} ({suite.profile}): {what or 'its design'} changed after records exist; the new design is "
        f"registered beside the old one, whose ledger stays, and takes fresh evaluation seeds (from "
        f"{entry.first_seed} on): say why with --reason '...', or try it with --pilot"
    )


def differences(old: Ledger, new: Ledger) -> list[str]:
    """Claims of both ledgers whose estimate or verdict is another, in words."""
    before = {row["id"]: row for row in old}
    out = []
    for row in new:
        was = before.get(row["id"])
        if was is None:
            continue
        if was["verdict"] != row["verdict"]:
            out.append(f"{row['id']}: {was['verdict']} -> {row['verdict']}")
        elif not _close(was, row):
            out.append(f"{row['id']}: {was['estimate']} -> {row['estimate']}")
    return out


def _close(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    old, new = a["estimate"], b["estimate"]
    if old is None or new is None:
        return old is new
    low, high = a["ci95"] or (old, old)
    return math.isclose(old, new, rel_tol=1e-6, abs_tol=SAME * (high - low))


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

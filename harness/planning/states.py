"""What is known of each trial: whether its record is done, stale, missing, failed or waiting, and why."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from harness.errors import SuiteError, unknown
from harness.fingerprint import changed_modules, trial_fingerprint
from harness.planning.resolve import Resolved
from harness.records.agreement import contradiction
from harness.records.record import FINISHED, Planned, Record, RecordSet, code_of, rests_on
from harness.trial import digest

State = Literal["done", "stale", "missing", "failed", "waiting"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Item:
    """A planned trial, its state, and why."""

    planned: Planned
    state: State
    why: str = ""
    record: Record | None = None
    flops: float = 0.0
    now: Mapping[str, str] = field(default_factory=dict)
    """What a record made now would rest on, code and artifacts of needed trials; empty where there is none yet."""
    needs: Mapping[str, Item] = field(default_factory=dict)
    """Name -> the trial whose artifacts this one reads."""


class States:
    """Judges records by the present code.

    ``classes``: numerics classes, those first whose records count where a trial has several.
    """

    def __init__(
        self, records: RecordSet, accepted: Mapping[tuple[str, str, str], str], classes: Sequence[str] = ()
    ):
        self.records = records
        self.accepted = accepted
        self.classes = list(classes)
        self.held: dict[str, set[str]] = defaultdict(set)
        """Numerics class -> identities judged so far of which it has a finished record of the present code."""
        self.notes: list[str] = []
        self._prints: dict[str, dict[str, str]] = {}
        self._here: dict[str, str] = {}

    def item(self, planned: Planned, resolved: Resolved, needs: Mapping[str, Item]) -> Item:
        """The trial's state. Of several records that may count the best one does; when it was made is no matter."""
        known, flops = self.records.by_identity.get(planned.trial.identity, []), resolved.flops
        for name, need in needs.items():
            if why := unreadable(need):
                shown = self._best(known, planned) if known else None
                return Item(planned, "waiting", f"needs {name!r}, which {why}", shown, flops, needs=needs)
        if not known:
            return Item(planned, "missing", flops=flops, needs=needs)
        read = {name: need.record.artifacts_digest for name, need in needs.items() if need.record}
        now = rests_on(self._fingerprint(resolved), read)
        fresh = [
            r
            for r in known
            if r.rests_on == now or (r.identity, code_of(r), digest(now)[:16]) in self.accepted
        ]
        if not fresh:
            record = self._best(known, planned)
            changed = changed_modules(record.rests_on, now)
            return Item(planned, "stale", "changed: " + ", ".join(changed), record, flops, now, needs)
        for r in fresh:
            if r.status in FINISHED:
                self.held[r.numerics_class].add(r.identity)
        record = self._best(fresh, planned, now)
        if len(fresh) > 1:
            self._compare(record, fresh, now)
        state, why = self._judged(record, planned)
        return Item(planned, state, why, record, flops, now, needs)

    def _compare(self, record: Record, fresh: Sequence[Record], now: Mapping[str, str]) -> None:
        """Note where the present code refutes that a record of other code was accepted for it."""
        if record.rests_on != now or record.status not in FINISHED:
            return
        for r in fresh:
            same = r.numerics_class == record.numerics_class and r.status in FINISHED
            if same and r.rests_on != now and (what := contradiction(r, record)):
                self.notes.append(
                    f"trial {r.identity[:12]}: a record accepted for the present code disagrees with one that this "
                    f"code made ({what}); the latter counts, and what was accepted with the other is in doubt"
                )

    def _judged(self, record: Record, planned: Planned) -> tuple[State, str]:
        if record.status == "skipped" and record.numerics_class != self._numerics_class(planned):
            return "missing", "skipped elsewhere"
        if record.status not in FINISHED:
            return "failed", f"{record.status}: {last_line(record.reason)}"
        if record.status == "completed" and (name := record.lacks_probe(planned.probes)):
            return "missing", f"its record lacks probe {name!r}"
        return "done", ""

    def _best(self, records: Sequence[Record], planned: Planned, now: Mapping[str, str] | None = None) -> Record:
        """The record that counts: one that is all that is wanted, then by numerics class, then of the very code."""
        if len(records) == 1:
            return records[0]

        def rank(r: Record) -> tuple[bool, bool, int, bool, str]:
            place = self.classes.index(r.numerics_class) if r.numerics_class in self.classes else len(self.classes)
            wanted = self._judged(r, planned)[0] == "done"
            return not wanted, r.status not in FINISHED, place, r.rests_on != now, code_of(r)

        return min(records, key=rank)

    def _fingerprint(self, resolved: Resolved) -> dict[str, str]:
        if resolved.code not in self._prints:
            self._prints[resolved.code] = trial_fingerprint(resolved.trial)
        return self._prints[resolved.code]

    def _numerics_class(self, planned: Planned) -> str:
        device = planned.trial.config.get("compute", {}).get("device", "cpu")
        if device not in self._here:
            from harness.environment import numerics_class

            try:
                self._here[device] = numerics_class(device)
            except (RuntimeError, AssertionError):
                self._here[device] = ""
        return self._here[device]


def mean_of(items: Sequence[Item], metric: str, where: str) -> float | None:
    """Mean of a metric over seeds; inf if one diverged, nan if one was skipped, None if one is not known yet."""
    values = []
    for item in items:
        if item.state != "done" or item.record is None:
            return None
        if item.record.status == "skipped":
            return math.nan
        if item.record.status == "completed" and metric not in item.record.metrics:
            raise SuiteError(str(unknown("metric", metric, item.record.metrics, f"{where}: metric")))
        value = item.record.metrics.get(metric) if item.record.status == "completed" else None
        values.append(math.inf if value is None else value)
    return sum(values) / len(values)


def coverage(records: RecordSet) -> dict[str, int]:
    """Numerics class -> number of trials of which the store has a finished record in it."""
    found: dict[str, set[str]] = defaultdict(set)
    for identity, of_trial in records.by_identity.items():
        for r in of_trial:
            if r.status in FINISHED:
                found[r.numerics_class].add(identity)
    return {c: len(identities) for c, identities in found.items()}


def by_coverage(covered: Mapping[str, int]) -> list[str]:
    """Numerics classes, those first that cover most trials; equals by name."""
    return sorted(covered, key=lambda c: (-covered[c], c))


def unreadable(need: Item) -> str:
    """Why the artifacts of a needed trial cannot be read yet, after 'which'; empty if they can."""
    if need.state != "done" or need.record is None:
        said = {"missing": "has not run", "stale": "is stale", "failed": "failed"}[need.state]
        return f"{said}: {need.why}" if need.why else said
    if need.record.status != "completed":
        said = "was skipped" if need.record.status == "skipped" else need.record.status
        reason = last_line(need.record.reason)
        return f"{said}: {reason}" if reason else said
    return "" if need.record.artifacts else "left no artifact"


def last_line(reason: str) -> str:
    """The end of a record's reason, which says what happened."""
    return (reason.strip().splitlines() or [""])[-1][:300]

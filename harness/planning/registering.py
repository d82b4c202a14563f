"""Registrations on disk: one file of a store's own runs, and the committed one that its reference rests on.

<results>/runs/registrations.jsonl      what ``harness run`` put down here before its first trials
<results>/runs/ledgers/<entry>.json     what a finished run under an entry left
<results>/registrations.jsonl           chains of the committed reference, merged by ``harness regress --update``
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness import numbers
from harness.environment import git_state
from harness.errors import DamagedError, StoreError, SuiteError
from harness.files import append_line, lock, sealed, unsealed, write_atomically
from harness.planning.judging import ledger_of
from harness.planning.registration import (
    Entry,
    Ledger,
    Registrations,
    Under,
    chained,
    changed,
    design_digest,
    design_of,
    entries_for,
    registers,
    with_seeds,
)
from harness.planning.suite import Suite
from harness.records.encoding import read_record
from harness.records.plans import load_rows, plan_path
from harness.records.record import Row
from harness.records.reference import read_reference, reference_path
from harness.records.store import Store
from harness.records.verification import Finding

FILE = "registrations.jsonl"


def committed_file(store: Store) -> Path:
    """Registrations of the committed reference."""
    return store.root / FILE


def live_file(store: Store) -> Path:
    """Registrations of what was run in this store."""
    return store.runs / FILE


# --- reading -----------------------------------------------------------------------------------------------


def registrations(store: Store, *, committed_only: bool = False) -> Registrations:
    """All chains of the store, or those of its reference alone. Raises StoreError naming file and line."""
    files = [committed_file(store), *([] if committed_only else [live_file(store)])]
    return chained([e for file in files for e in entries_of(file)], str(store.root))


def entries_of(file: Path) -> list[Entry]:
    """A file's entries, in its order; none where there is no file. Raises StoreError naming file and line."""
    lines = file.read_bytes().splitlines(keepends=True) if file.is_file() else []
    out = []
    for number, line in enumerate(lines, 1):
        try:
            out.append(Entry.model_validate(unsealed(line)))
        except (DamagedError, ValidationError) as error:
            why = error if isinstance(error, DamagedError) else error.errors()[0]["msg"]
            raise StoreError(
                f"{file}:{number}: not a registration ({why}); restore the file, from version control or a copy: "
                "an entry is never changed or removed, and records that ran under a lost one give no verdict"
            ) from None
    return out


def seeded(suites: Sequence[Suite], store: Store) -> list[Suite]:
    """The suites with the evaluation seeds that a run would take now."""
    return with_seeds(suites, registrations(store))


def outlook(suite: Suite, known: Registrations) -> str:
    """What a run of this suite is registered under, in words."""
    entry = known.current(suite)
    if entry is not None:
        return f"registered as {entry.hash[:12]} ({entry.at}), evaluation seeds from {entry.first_seed} on"
    if not registers(suite):
        return f"registers nothing, gives no verdict: {suite.pilot or f'profile {suite.profile}'}"
    chain = known.chain(suite.key, suite.profile)
    last = next((e for e in reversed(chain) if e.kind == "design"), None)
    now = design_digest(suite)
    what = f"; changed since the last design: {', '.join(changed(last.design, design_of(suite)))}" if last else ""
    again = f"; {numbers.plural(len(chain), 'entry', 'entries')} before it" if chain else ""
    return f"harness run registers design {now[:12]}, evaluation seeds from {suite.first_seed} on{again}{what}"


# --- writing -----------------------------------------------------------------------------------------------


def register(suites: Sequence[Suite], store: Store, reason: str = "") -> tuple[list[Suite], dict[str, Under]]:
    """Put down what is not registered yet; (suites with their seeds, key of a suite -> what it runs under).

    Suites that register nothing have none. Raises SuiteError where a reason is needed and missing.
    """
    if not any(map(registers, suites)):
        return seeded(suites, store), {}
    with lock(store.runs / "locks" / FILE):
        known = registrations(store)
        new = entries_for(
            suites, known, reason=reason, commit=_commit(), at=datetime.now(UTC).isoformat(timespec="seconds"),
            has_records=lambda suite, under: _has_records(store, suite, under),
            ledger=lambda suite, last: _left(store, suite, last, known),
            ledger_now=lambda suite, last: _judged(store, suite, last, known),
        )  # fmt: skip
        _append(live_file(store), new)
        known = registrations(store)
    ready = with_seeds(suites, known)
    entries = {s.key: known.current(s) for s in ready if registers(s)}
    names = {s.key: s.name for s in ready}
    return ready, {key: Under(entry=e.hash, suite=names[key]) for key, e in entries.items() if e is not None}


def commit(store: Store, suite: Suite, planned: Mapping[str, Any]) -> str:
    """Bring the suite's chain into the committed file; the hash of its newest entry, empty where it needs none.

    ``planned``: the suite of its stored plan. Raises SuiteError where that ran under no registration of the suite
    as it stands: its records are a pilot's, or those of another design.
    """
    if not registers(suite):
        return ""
    known = registrations(store)
    entry, ran = known.current(suite), Suite.model_validate(planned)
    if entry is None or not registers(ran) or design_digest(ran) != entry.design_digest:
        raise SuiteError(
            f"{suite.name} ({suite.profile}): not registered as it stands, so its records can give no verdict; "
            f"run it first: harness run {suite.name} profile={suite.profile}"
        )
    have = {e.hash for e in entries_of(committed_file(store))}
    _append(committed_file(store), [e for e in known.chain(suite.key, suite.profile) if e.hash not in have])
    return entry.hash


def _append(file: Path, entries: Iterable[Entry]) -> None:
    lines = "".join(sealed(e.model_dump(mode="json")) for e in entries)
    if lines:
        append_line(file, lines)


def _commit() -> str:
    state = git_state() or {}
    return f"{state.get('sha', '')}{' and changes' if state.get('dirty') else ''}" if state.get("sha") else ""


# --- what a design left ------------------------------------------------------------------------------------


def _has_records(store: Store, suite: Suite, under: frozenset[str]) -> bool:
    """Whether a record of this store or of its reference ran under one of these entries."""
    if any(under & set(r.registrations.values()) for rs in store.load().by_identity.values() for r in rs):
        return True
    if not reference_path(store, suite.name, suite.profile).is_file():
        return False
    rows = read_reference(store, suite.name, suite.profile)[1]
    return any(under & set(row.record.registrations.values()) for row in rows if row.record)


def keep_ledger(store: Store, entry: str, suite: Suite, rows: Sequence[Row]) -> None:
    """Keep what a finished run under this entry left, as the present code judges it."""
    ledger = ledger_of(suite, rows, registrations(store).accepted(suite))
    write_atomically(ledger_file(store, entry), sealed({"entry": entry, "ledger": ledger}).encode())


def ledger_file(store: Store, entry: str) -> Path:
    """Where the ledger of an entry lies."""
    return store.runs / "ledgers" / f"{entry}.json"


def kept_ledger(store: Store, entry: str) -> Ledger | None:
    """What a finished run under this entry left; None where none finished here. StoreError if it is damaged."""
    path = ledger_file(store, entry)
    if not path.is_file():
        return None
    try:
        return list(ledger_in(path))
    except DamagedError as error:
        raise StoreError(f"{path}: damaged ledger ({error}); remove it: its records are judged again") from None


def ledger_in(path: Path) -> Ledger:
    """The ledger in a file, whose name is its entry's. Raises DamagedError."""
    content = unsealed(path.read_bytes())
    if content.get("entry") != path.stem or not isinstance(content.get("ledger"), list):
        raise DamagedError(f"its content belongs to another entry, {content.get('entry')}")
    return list(content["ledger"])


def _left(store: Store, suite: Suite, last: Entry, known: Registrations) -> Ledger:
    """The ledger that the last entry's run left, as the code of its time judged; else as this code judges."""
    if last.kind == "history":
        return list(last.design.get("ledger", []))
    ledger = kept_ledger(store, last.hash)
    if ledger is None and reference_path(store, suite.name, suite.profile).is_file():
        plan = read_reference(store, suite.name, suite.profile)[0]
        ledger = plan.get("ledger") if plan.get("registration") == last.hash else None
    return ledger if ledger is not None else _judged(store, suite, last, known)


def _judged(store: Store, suite: Suite, last: Entry, known: Registrations) -> Ledger:
    """What the present code makes of the last entry's records."""
    kept = _kept(store, suite, last)
    return ledger_of(*kept, known.accepted(kept[0])) if kept else []


def _kept(store: Store, suite: Suite, last: Entry) -> tuple[Suite, list[Row]] | None:
    """The last entry's design with its rows, as they lie here, else in the reference."""
    places: list[tuple[Callable[..., tuple[dict[str, Any], list[Row]]], str]] = []
    if plan_path(store, suite.key, suite.profile).is_file():
        places.append((load_rows, suite.key))
    if reference_path(store, suite.name, suite.profile).is_file():
        places.append((read_reference, suite.name))
    for read, name in places:
        plan, rows = read(store, name, suite.profile)
        planned = Suite.model_validate(plan["suite"])
        if design_digest(planned) == last.design_digest:
            return planned, rows
    return None


# --- verification ------------------------------------------------------------------------------------------


def findings(results: Path) -> list[Finding]:
    """What is wrong with a results folder's registrations and ledgers; changes nothing."""
    store = Store(results)
    out = [f for file in (committed_file(store), live_file(store)) for f in _damaged_lines(file)]
    if not out:
        try:
            known = registrations(store)
        except SuiteError as error:
            return [Finding(live_file(store), str(error))]
        out += _lost_entries(store, {e.hash for chain in known.chains.values() for e in chain})
    for path in sorted((store.runs / "ledgers").glob("*.json")):
        try:
            ledger_in(path)
        except DamagedError as error:
            out.append(Finding(path, f"{error}; remove it: its records are judged again"))
    return out


def _damaged_lines(file: Path) -> Iterator[Finding]:
    try:
        entries_of(file)
    except StoreError as error:
        yield Finding(file, str(error).removeprefix(f"{file}:"))


def _lost_entries(store: Store, known: Collection[str]) -> Iterator[Finding]:
    """Records that ran under an entry which is nowhere: lines were removed from the end of a file."""
    for path in store.record_files():
        try:
            named = set(read_record(path).registrations.values())
        except (DamagedError, FileNotFoundError):
            continue
        if lost := sorted(named - set(known)):
            yield Finding(
                path, f"it ran under registration {lost[0][:12]}, which is in neither {FILE}: restore the file; "
                "without the entry the record gives no verdict",
            )  # fmt: skip

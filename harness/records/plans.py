"""Which trials a suite planned, under which labels: ``<results>/runs/plans/<key>.<profile>.json``.

A shipped suite's key is its name; a user's has a digest of where it lies added, as two may share a file name.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import DamagedError, StoreError
from harness.files import sealed, unsealed, write_atomically
from harness.records.record import FINISHED, Planned, Record, RecordSet, Row, code_of
from harness.records.store import Store

KEY_DIGITS = 8
"""Digits of a user's suite's digest in its key."""
KEYS = frozenset({"suite", "claims_hash", "notes", "selections", "more", "rows", "key"})
"""What a plan without a checksum may have."""


def plan_path(store: Store, key: str, profile: str) -> Path:
    """The file of a suite's plan."""
    return store.plans / f"{key}.{profile}.json"


def write_plan(store: Store, key: str, profile: str, content: Mapping[str, Any]) -> None:
    """Remember which trials a suite planned, and under which labels."""
    write_atomically(plan_path(store, key, profile), sealed({**content, "key": key}).encode())


def key_of(store: Store, suite: str, profile: str) -> str:
    """The key of the plan that a person means by a suite's name. StoreError if two of that name were planned."""
    if plan_path(store, suite, profile).is_file():
        return suite
    pattern = f"{glob.escape(suite)}-{'[0-9a-f]' * KEY_DIGITS}.{glob.escape(profile)}.json"
    found = [p.name.removesuffix(f".{profile}.json") for p in sorted(store.plans.glob(pattern))]
    if len(found) > 1:
        files = [str((read_plan(store, key, profile) or {}).get("suite", {}).get("file")) for key in found]
        told = " and of ".join(files)
        raise StoreError(f"suite {suite!r} is the name of {told}; give the path of the one you mean")
    return found[0] if found else suite


def read_plan(store: Store, key: str, profile: str) -> dict[str, Any] | None:
    """What write_plan kept, or None. A damaged plan is moved to quarantine; StoreError says so."""
    path = plan_path(store, key, profile)
    if not path.is_file():
        return None
    try:
        return plan_of_file(path)
    except DamagedError as error:
        target = store.quarantine(path)
        raise StoreError(
            f"{path}: damaged plan ({error}), moved to {target}; plan again, no trial is repeated: "
            f"harness run {key} profile={profile}"
        ) from None


def plan_of_file(path: Path) -> dict[str, Any]:
    """The plan in a file, whose name is its own. Raises DamagedError."""
    if path.is_symlink():
        raise DamagedError("it is a symbolic link")
    plan = unsealed(path.read_bytes(), old=KEYS)
    try:
        suite, entries = plan["suite"], [entry["planned"] for entry in plan["rows"]]
        name = f"{plan.get('key', suite['name'])}.{suite['profile']}.json"
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"it is no plan: {type(error).__name__}: {error}") from None
    del entries
    if path.name != name:
        raise DamagedError(f"its content belongs to another plan, {name}")
    return plan


def planned_profiles(store: Store, profile: str) -> list[str]:
    """Keys of the suites with a stored plan at this profile."""
    return sorted(p.name.removesuffix(f".{profile}.json") for p in store.plans.glob(f"*.{profile}.json"))


def profiles_run(store: Store, key: str = "*") -> list[str]:
    """Profiles at which a suite, or any, has a stored plan."""
    found = store.plans.glob(f"{key if key == '*' else glob.escape(key)}.*.json")
    return sorted({p.name.removesuffix(".json").rpartition(".")[2] for p in found})


def load_rows(
    store: Store, key: str, profile: str, records: RecordSet | None = None
) -> tuple[dict[str, Any], list[Row]]:
    """(plan, rows) of a suite's last plan in this store. Raises StoreError if it was never planned here."""
    plan = read_plan(store, key, profile)
    if plan is None:
        raise StoreError(
            f"{store.root}: no run of suite {key!r} at profile {profile!r} (run here: "
            f"{', '.join(profiles_run(store, key)) or 'none'}); run: harness run {key} profile={profile}"
        )
    records = store.load() if records is None else records
    rows = []
    for entry in plan["rows"]:
        planned = Planned.model_validate(entry["planned"])
        found = records.by_identity.get(planned.trial.identity, [])
        chosen = [r for r in found if counts(entry, r)]
        rows.append(Row(planned, chosen[0] if chosen else None))
    return plan, rows


def counts(entry: Mapping[str, Any], record: Record) -> bool:
    """Whether a record of a plan's row is the one that the row rests on.

    Where there was none yet, a finished one has come since: a kill kept the runner from planning once more.
    """
    return code_of(record) == entry["code"] if entry.get("code") else record.status in FINISHED

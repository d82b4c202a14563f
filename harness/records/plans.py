"""Which trials a suite planned, under which labels: ``<results>/runs/plans/<suite>.<profile>.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import DamagedError, StoreError
from harness.files import sealed, unsealed, write_atomically
from harness.records.record import Planned, RecordSet, Row, code_of
from harness.records.store import Store


def plan_path(store: Store, suite: str, profile: str) -> Path:
    """The file of a suite's plan."""
    return store.plans / f"{suite}.{profile}.json"


def write_plan(store: Store, suite: str, profile: str, content: Mapping[str, Any]) -> None:
    """Remember which trials a suite planned, and under which labels."""
    write_atomically(plan_path(store, suite, profile), sealed(content).encode())


def read_plan(store: Store, suite: str, profile: str) -> dict[str, Any] | None:
    """What write_plan kept, or None. A damaged plan is moved to quarantine; StoreError says so."""
    path = plan_path(store, suite, profile)
    if not path.is_file():
        return None
    try:
        return plan_of_file(path)
    except DamagedError as error:
        target = store.quarantine(path)
        raise StoreError(
            f"{path}: damaged plan ({error}), moved to {target}; plan again, no trial is repeated: "
            f"harness run {suite} profile={profile}"
        ) from None


def plan_of_file(path: Path) -> dict[str, Any]:
    """The plan in a file, whose name is its own. Raises DamagedError."""
    if path.is_symlink():
        raise DamagedError("it is a symbolic link")
    plan = unsealed(path.read_bytes(), old=True)
    try:
        suite, entries = plan["suite"], [entry["planned"] for entry in plan["rows"]]
        name = f"{suite['name']}.{suite['profile']}.json"
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"it is no plan: {type(error).__name__}: {error}") from None
    del entries
    if path.name != name:
        raise DamagedError(f"its content belongs to another plan, {name}")
    return plan


def planned_profiles(store: Store, profile: str) -> list[str]:
    """Suites with a stored plan at this profile."""
    return sorted(p.name.removesuffix(f".{profile}.json") for p in store.plans.glob(f"*.{profile}.json"))


def load_rows(
    store: Store, suite: str, profile: str, records: RecordSet | None = None
) -> tuple[dict[str, Any], list[Row]]:
    """(plan, rows) of a suite's last plan in this store. Raises StoreError if it was never planned here."""
    plan = read_plan(store, suite, profile)
    if plan is None:
        raise StoreError(
            f"{store.root}: no run of suite {suite!r} at profile {profile!r}; "
            f"run: harness run {suite} profile={profile}"
        )
    records = store.load() if records is None else records
    rows = []
    for entry in plan["rows"]:
        planned = Planned.model_validate(entry["planned"])
        found = records.by_identity.get(planned.trial.identity, [])
        chosen = [r for r in found if code_of(r) == entry.get("code")]
        rows.append(Row(planned, chosen[0] if chosen else None))
    return plan, rows

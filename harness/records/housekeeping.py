"""What may be removed from a store: scratch of trials that nobody is at, and records that no plan counts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from harness.errors import BusyError, DamagedError, StoreError
from harness.files import TEMPORARY, lock
from harness.records.plans import counts, plan_of_file
from harness.records.record import Record, RecordSet, code_of
from harness.records.store import Store
from harness.trial import Trial

LOCKS = "locks"
"""Folder below the scratch of all trials: one file a trial, whose lock its process holds."""


def scratch(store: Store) -> list[Path]:
    """What a finished or killed process left, a path each; that of trials in flight is not among them."""
    with _free(store) as found:
        return found


def clean_scratch(store: Store) -> list[Path]:
    """Remove what :func:`scratch` lists, holding each trial's lock meanwhile; returns it."""
    with _free(store) as found:
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        return found


@contextmanager
def _free(store: Store) -> Iterator[list[Path]]:
    """The scratch of trials whose lock could be had; the locks are held in the block, then their files go."""
    folders = {p.name: p for p in _entries(store.work) if p.name != LOCKS}
    names = {p.name for p in _entries(store.work / LOCKS)}
    found = [*_entries(store.runs / "staging"), *sorted(store.records.glob(f"*/{TEMPORARY}*"))]
    with ExitStack() as stack:
        for name in sorted({*folders, *names}):
            file = store.work / LOCKS / name
            with suppress(BusyError):
                stack.enter_context(lock(file, seconds=0.0))
                # Called before the lock is let go of: who waits for it then finds that its file is gone.
                stack.callback(file.unlink, missing_ok=True)
                found += [folders[name]] if name in folders else []
        yield found


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def unused(store: Store, records: RecordSet) -> list[Record]:
    """Records that no stored plan counts. Raises StoreError if a plan is damaged: it might have counted them."""
    used: set[tuple[str, str]] = set()
    files = sorted(store.plans.glob("*.json"))
    if not files:
        raise StoreError(
            f"{store.plans}: no plan is stored, so every record would count as unused; plan first: harness run all"
        )
    for file in files:
        try:
            plan = plan_of_file(file)
        except DamagedError as error:
            raise StoreError(
                f"{file}: damaged plan ({error}); remove it and plan again: harness run SUITE"
            ) from None
        for entry in plan["rows"]:
            found = records.by_identity.get(Trial.model_validate(entry["planned"]["trial"]).identity, [])
            used |= {(r.identity, code_of(r)) for r in found if counts(entry, r)}
    return [r for of in records.by_identity.values() for r in of if (r.identity, code_of(r)) not in used]

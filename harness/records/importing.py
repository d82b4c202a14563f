"""Bringing in the records of another store: everything is checked first, and then all of it comes or nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import DamagedError, StoreError
from harness.files import links_below
from harness.records.agreement import contradiction
from harness.records.encoding import read_record
from harness.records.record import FINISHED, Record
from harness.records.store import Store


def import_records(source: Store, target: Store) -> int:
    """Add the records of one store (and their files) to another; returns how many are there that were not.

    Raises StoreError, and changes nothing, for a link, a damaged record or file, or a record that contradicts one
    that is here. An unfinished record never takes the place of a finished one.
    """
    if not source.records.is_dir():
        raise StoreError(f"{source.root}: no records; give the folder that `harness execute --out` wrote")
    target.prepare()
    with target.exclusive("harness execute --import"):
        wanted = [r for r in _checked(source) if _adds(r, target)]
        staging = target.runs / "staging"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            # Copied before the first is written: a full disk leaves the store as it was.
            for record in wanted:
                if record.artifacts:
                    shutil.copytree(source.artifact_folder(record), _place(staging, target, record))
            for record in wanted:
                target.write(record, _place(staging, target, record))
        except OSError as error:
            raise StoreError(f"{target.root}: cannot write: {error.strerror}; nothing was imported") from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return len(wanted)


def _place(staging: Path, target: Store, record: Record) -> Path:
    return staging / target.artifact_folder(record).name


def _checked(source: Store) -> list[Record]:
    for link in links_below(source.runs):
        raise StoreError(f"{link}: a symbolic link; records and their files are imported as files; nothing was")
    records = []
    for path in source.record_files():
        try:
            record = read_record(path)
        except DamagedError as error:
            raise StoreError(f"{path}: damaged record: {error}; execute it again; nothing was imported") from None
        for problem in source.artifact_problems(record):
            raise StoreError(f"{problem}; execute its trial again; nothing was imported")
        records.append(record)
    return records


def _adds(record: Record, target: Store) -> bool:
    """Whether the store lacks something of this record. Raises StoreError for a contradiction."""
    try:
        here = read_record(target.path_of(record))
    except (FileNotFoundError, DamagedError):
        return True
    if here.status not in FINISHED:
        return record != here
    if record.status not in FINISHED:
        return False
    if why := contradiction(here, record):
        raise StoreError(
            f"{target.path_of(record)}: the same code in the same numerics class gave other numbers here ({why}); "
            "nothing was imported. Find out which machine is wrong, remove its record, and import again"
        )
    return bool({*record.probes} - {*here.probes} or {*record.tables} - {*here.tables})

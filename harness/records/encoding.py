"""Records as bytes: a checksum, a schema version, and what is done to records of older schemas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import DamagedError
from harness.files import has_checksum, sealed, unsealed
from harness.records.record import SCHEMA, Record, code_of

WITHOUT_CHECKSUM = 1
"""The last schema whose files have none."""
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    # Schema 2 only adds: tables and notes, which older records leave at their defaults.
    1: dict,
}
"""Schema -> what turns a record's fields into those of the next."""


def migrated(fields: dict[str, Any], version: Any) -> dict[str, Any]:
    """A record's fields in the present schema. Raises DamagedError for a version that is not known here."""
    if type(version) is not int or not 1 <= version <= SCHEMA:
        raise DamagedError(f"its schema_version is {version!r}, this version of the harness reads 1 to {SCHEMA}")
    while version < SCHEMA:
        fields, version = MIGRATIONS[version](fields), version + 1
    return {**fields, "schema_version": SCHEMA}


def encode(record: Record) -> bytes:
    """A record's file."""
    return sealed(record.model_dump(mode="json")).encode()


def decode(data: bytes) -> Record:
    """The record in a file of any known schema. Raises DamagedError saying what is wrong."""
    fields = unsealed(data, old=Record.model_fields)
    version = fields.get("schema_version", 1)
    record = validated(migrated(fields, version))
    if version > WITHOUT_CHECKSUM and not has_checksum(data):
        raise DamagedError("it does not begin with its checksum")
    return record


def validated(fields: dict[str, Any]) -> Record:
    """The record with these fields. Raises DamagedError naming the first that is wrong."""
    try:
        return Record.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedError(f"it is no record: {where}: {first['msg']}") from None


def file_name(record: Record) -> str:
    """What its file is called: identity and code."""
    return f"{record.identity}.{code_of(record)}.json"


def read_record(path: Path) -> Record:
    """The record in a store's file, whose name and folder are its own. Raises DamagedError or OSError."""
    if path.is_symlink():
        raise DamagedError("it is a symbolic link")
    record = decode(path.read_bytes())
    if (path.parent.name, path.name) != (record.identity[:2], file_name(record)):
        raise DamagedError(f"its content belongs to another identity, {file_name(record)}")
    return record

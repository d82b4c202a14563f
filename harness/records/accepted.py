"""The committed log of stale records that were carried over, with the reasons: ``<results>/accepted.jsonl``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import DamagedError, StoreError
from harness.files import append_line, sealed, unsealed
from harness.records.record import Record, code_of
from harness.records.store import Store
from harness.trial import digest

ENTRY = frozenset({"identity", "code", "for", "reason", "at"})


def accepted_file(store: Store) -> Path:
    """The log's file."""
    return store.root / "accepted.jsonl"


def accept(
    store: Store, records: Iterable[Record], current: Mapping[str, Mapping[str, str]], reason: str
) -> int:
    """Append to the log that these stale records count for the current code; returns how many.

    ``current``: identity -> the current code's fingerprint.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds")
    lines = []
    for r in records:
        entry = {
            "identity": r.identity,
            "code": code_of(r),
            "for": digest(current[r.identity])[:16],
            "reason": reason,
            "at": at,
        }
        lines.append(sealed(entry))
    if lines:
        append_line(accepted_file(store), "".join(lines))
    return len(lines)


def accepted(store: Store) -> dict[tuple[str, str, str], str]:
    """(identity, code of the record, digest of the fingerprint it stands for) -> reason."""
    out, path = {}, accepted_file(store)
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            entry = unsealed(line, old=ENTRY)
            out[entry["identity"], entry["code"], entry["for"]] = entry["reason"]
        except (DamagedError, KeyError) as error:
            why = error if isinstance(error, DamagedError) else f"it lacks {error}"
            raise StoreError(
                f"{path}:{number}: not an entry of the accept log ({why}); restore the line from git, or remove it "
                "and accept again: harness accept --reason '...'"
            ) from None
    return out

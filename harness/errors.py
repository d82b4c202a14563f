"""Errors a user can cause. Each message names the place, the value, the valid values and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class HarnessError(Exception):
    """Wrong usage: bad suite, name, value, file or folder. The command exits 2."""


class UnknownNameError(HarnessError):
    """A name that nothing answers to."""


class SuiteError(HarnessError):
    """A suite or an override that does not describe a valid plan."""


class PluginError(HarnessError):
    """A method's file that cannot be imported or breaks its contract."""


class DataError(HarnessError):
    """Data that is missing, altered or unreadable."""


class StoreError(HarnessError):
    """A results folder or record that cannot be written or read."""


class DamagedError(HarnessError):
    """Content that is not what was written; the message begins with 'it', whoever knows the file names it."""


class BusyError(HarnessError):
    """A lock that somebody else holds."""

    def __init__(self, path: Path, holders: Sequence[str]) -> None:
        self.holders = list(holders)
        who = ", ".join(holders) or "another process"
        super().__init__(f"{path}: in use by {who}; try again when it has ended")


class ClaimError(HarnessError):
    """A claim or estimator that the records cannot answer; says which, why, and the cure."""


def unknown(what: str, name: str, valid: Iterable[str], where: str = "") -> UnknownNameError:
    """An :class:`UnknownNameError` with the closest valid names, then all of them."""
    valid = sorted(valid)
    close = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    listed = ", ".join(valid) if valid else "none"
    place = f"{where}: " if where else ""
    return UnknownNameError(f"{place}unknown {what} {name!r}.{hint} Valid: {listed}.")

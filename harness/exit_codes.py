"""What the command's exit codes mean; every help text takes them from here."""

from __future__ import annotations

OK = 0
UNEXPECTED = 1
USAGE = 2
TRIAL_FAILED = 3
REGRESSION = 4
NOTHING_COMPARED = 5
INTEGRITY = 6
INTERRUPTED = 130
TERMINATED = 143

MEANINGS = {
    OK: "fine",
    UNEXPECTED: "something unexpected, told in a log",
    USAGE: "wrong usage or suite",
    TRIAL_FAILED: "some trial failed",
    REGRESSION: "a regression",
    NOTHING_COMPARED: "something could not be compared",
    INTEGRITY: "a file is damaged or was altered",
    INTERRUPTED: "interrupted",
    TERMINATED: "terminated",
}
ALWAYS = (OK, UNEXPECTED, USAGE, INTERRUPTED, TERMINATED)
"""Codes that every command may return."""


def told(codes: tuple[int, ...]) -> str:
    """These codes and those of every command, in a line of help."""
    return "Exit codes: " + "; ".join(f"{c} {MEANINGS[c]}" for c in sorted({*ALWAYS, *codes})) + "."

"""``harness regress``: has anything become worse than the committed reference?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands._exit_codes import NOTHING_COMPARED, OK, REGRESSION
from harness.commands._options import DEFAULT_RESULTS, Json, Results, Words, load_suites, print_json
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.planning.suite import Suite
    from harness.records.record import Row
    from harness.records.store import Store

EXAMPLE = "harness regress profile=cpu"
EXITS = (REGRESSION, NOTHING_COMPARED)


def command(
    words: Words = None,
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="Move the committed reference to the present records; needs --reason."),
    ] = False,
    reason: Annotated[str, typer.Option(help="Why the reference moves; kept in its log.", show_default=False)] = "",
    reference: Annotated[
        str, typer.Option(help="Name of the reference; default: the profile.", show_default=False)
    ] = "",
) -> int:
    """Compare the present records with the committed reference. Within a numerics class, bit for bit; and claim by
    claim."""
    from harness.commands import _reference
    from harness.commands._progress import working

    suites = load_suites(words, None, default_all=True)
    if update:
        move_reference(suites, results, reference, reason, echo=typer.echo)
        return OK
    with working("comparing with the reference"):
        found = _reference.compare(suites, results, reference)
    if as_json:
        print_json(found.as_dict())
    else:
        typer.echo(found.as_text())
    if found.regressions:
        return REGRESSION
    return OK if found.num_compared else NOTHING_COMPARED


def move_reference(
    suites: Sequence[Suite], results: Path, reference: str, reason: str, echo: Callable[[str], Any] = print
) -> None:
    """Move the committed reference of these suites to the present records; the only way to do so."""
    from harness.records.store import Store

    if not reason.strip():
        raise HarnessError("--update needs --reason: it is kept in the reference's log")
    store = Store(results)
    with store.exclusive("harness regress --update"):
        _move(suites, store, reference, reason, echo)


def _move(
    suites: Sequence[Suite], store: Store, reference: str, reason: str, echo: Callable[[str], Any]
) -> None:
    from harness.records.plans import load_rows, read_plan

    records = store.load()
    written = 0
    for suite in suites:
        if read_plan(store, suite.key, suite.profile) is None:
            continue
        plan, rows = load_rows(store, suite.key, suite.profile, records)
        missing = sum(r.record is None for r in rows)
        if missing or plan["more"]:
            raise HarnessError(
                f"{suite.name} ({suite.profile}): {missing} trials have no record yet; "
                f"finish with: harness run {suite.name} profile={suite.profile}"
            )
        path = _write(store, suite, reference or suite.profile, plan, rows, reason)
        echo(f"{path}: {len(rows)} trials, {path.stat().st_size / 1024:.0f} KiB")
        written += 1
    if not written:
        raise HarnessError(f"{store.root}: nothing has been run for these suites at this profile")


def _write(store: Store, suite: Suite, name: str, plan: dict[str, Any], rows: list[Row], reason: str) -> Path:
    from harness.analysis.claims import load_claims, tables_read
    from harness.files import append_line, sealed
    from harness.planning import registering
    from harness.records.reference import write_reference

    if entry := registering.commit(store, suite, plan["suite"]):
        plan = {**plan, "registration": entry, "ledger": registering.kept_ledger(store, entry)}
    tables = tables_read(load_claims(suite.claims, suite.file))
    path = write_reference(store, suite.name, name, plan, rows, tables=tables)
    said = {"suite": suite.name, "reason": reason, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    append_line(path.parent / "history.txt", sealed(said))
    return path

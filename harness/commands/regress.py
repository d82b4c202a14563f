"""``harness regress``: has the code, as it stands, made anything worse than the committed reference?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands._options import (
    DEFAULT_RESULTS,
    Executor,
    Json,
    Plugins,
    Results,
    Words,
    Workers,
    load_suites,
    print_json,
)
from harness.errors import HarnessError
from harness.exit_codes import NOTHING_COMPARED, OK, REGRESSION

if TYPE_CHECKING:
    from harness.planning.suite import Suite
    from harness.records.record import Row
    from harness.records.store import Store
    from harness.regression import Verdicts

EXAMPLE = "harness regress profile=cpu"
EXITS = (REGRESSION, NOTHING_COMPARED)


def command(
    words: Words = None,
    plugins: Plugins = None,
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    base: Annotated[
        str,
        typer.Option(
            help="Hold the code against this commit, run on this machine too, in place of the committed numbers.",
            show_default=False,
        ),
    ] = "",
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML, one test an arm, to this file.", show_default=False)
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Append a table for a pull request to this file.", show_default=False)
    ] = None,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Exit 4 for any change of bits, too: for changes that should change nothing."),
    ] = False,
    executor: Executor = "local",
    workers: Workers = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Move the committed reference to the present records; needs --reason."),
    ] = False,
    reason: Annotated[str, typer.Option(help="Why the reference moves; kept in its log.", show_default=False)] = "",
    reference: Annotated[
        str, typer.Option(help="Name of the reference; default: the profile.", show_default=False)
    ] = "",
) -> int:
    """Run a few of the committed reference's trials with the code as it stands, and judge every arm.

    Equal bits are equal; where they differ, three paired seeds tell a regression from noise. Only a regression is
    exit 4, unless --exact is given; an arm that could not be compared is exit 5, never "no regression".
    """
    suites = load_suites(words, plugins, default_all=True)
    _check_places(results, reference, junit, markdown)
    if update:
        move_reference(suites, results, reference, reason, echo=typer.echo)
        return OK
    from harness.commands import _gate_output

    found = _gate(suites, results, reference, base, executor, workers)
    if as_json:
        print_json(_gate_output.as_dict(found))
    else:
        typer.echo(_gate_output.as_text(found))
    if junit:
        junit.write_text(_gate_output.as_junit(found), encoding="utf-8")
    if markdown:
        with markdown.open("a", encoding="utf-8") as page:
            page.write(_gate_output.as_markdown(found))
    if found.regressions or (exact and found.altered):
        return REGRESSION
    return NOTHING_COMPARED if found.missing else OK


def _check_places(results: Path, reference: str, *outputs: Path | None) -> None:
    """What the command would find out only after the trials have run. Raises HarnessError."""
    if reference:
        from harness.records.reference import reference_path
        from harness.records.store import Store

        reference_path(Store(results), "", reference)
    for output in outputs:
        if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
            what = "it is a folder" if output.is_dir() else f"there is no folder {output.parent}"
            raise HarnessError(f"{output}: {what}; give the path of a file in a folder that exists")


def _gate(
    suites: Sequence[Suite], results: Path, reference: str, base: str, executor: str, workers: int | None
) -> Verdicts:
    import shutil
    import tempfile

    from harness import regression
    from harness.commands import _running
    from harness.commands._progress import working
    from harness.execution.jobs import Folders
    from harness.records.store import Store

    store = Store(results)
    store.prepare()
    staging = store.runs / "staging"
    staging.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="gate-", dir=staging))  # two gates may run at once
    folders = Folders(data=store.data, work=scratch / "work", plugins=store.runs / "plugins")
    machine = _running.executor_of(executor, workers)
    try:
        with store.shared("harness regress"), working("regression gate") as tell:
            return regression.gate(
                suites, store, regression.here(machine, folders), folders, reference=reference, tell=tell,
                base=regression.at_commit(base, folders, scratch) if base else None,
                against=f"commit {base} on this machine" if base else "",
            )  # fmt: skip
    finally:
        machine.close()
        shutil.rmtree(scratch, ignore_errors=True)


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
    from harness.report.gather import corpora_of

    if entry := registering.commit(store, suite, plan["suite"]):
        plan = {**plan, "registration": entry, "ledger": registering.kept_ledger(store, entry)}
    if corpora := corpora_of(rows, store):
        plan = {**plan, "data": corpora}
    tables = tables_read(load_claims(suite.claims, suite.file))
    path = write_reference(store, suite.name, name, plan, rows, tables=tables)
    said = {"suite": suite.name, "reason": reason, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    append_line(path.parent / "history.txt", sealed(said))
    return path

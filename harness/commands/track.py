"""``harness track``: the mirror of the records in MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands._options import DEFAULT_RESULTS, Json, Results, Words, complain, load_suites, print_json
from harness.errors import HarnessError
from harness.exit_codes import OK, TRIAL_FAILED
from harness.files import read_json

if TYPE_CHECKING:
    from harness.planning.suite import Suite
    from harness.records.record import Row

EXAMPLE = "harness track muon_scaling profile=cpu"
EXITS = (TRIAL_FAILED,)


def command(
    words: Words = None,
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    uri: Annotated[
        str,
        typer.Option(
            help="MLflow tracking URI; default: $MLFLOW_TRACKING_URI, else SQLite in the results folder.",
            show_default=False,
        ),
    ] = "",
) -> int:
    """Send to MLflow what is missing there. Each record exactly once; exit 3 where some could not be sent."""
    from harness.commands._progress import working

    with working("sending records"):
        summary = _sync(load_suites(words, None, default_all=True), results, uri)
    if as_json:
        print_json(summary)
    else:
        typer.echo(f"sent {summary['sent']}, already there {summary['already']}, failed {summary['failed']}")
        for line in summary.get("errors", []):
            complain(line)
    return TRIAL_FAILED if summary["failed"] else OK


def _sync(suites: Sequence[Suite], results: Path, uri: str) -> dict[str, Any]:
    """Records of these suites, with the report and its verdicts where there is one."""
    from harness.records import tracking
    from harness.records.plans import load_rows, profiles_run, read_plan
    from harness.records.store import Store

    store = Store(results)
    records = store.load()
    rows: list[Row] = []
    for suite in suites:
        if read_plan(store, suite.key, suite.profile) is not None:
            rows += load_rows(store, suite.key, suite.profile, records)[1]
    if not rows:
        names, profile = ", ".join(s.name for s in suites), suites[0].profile
        there = {s.name: profiles_run(store, s.key) for s in suites}
        run = "; ".join(f"{name}: {', '.join(found)}" for name, found in there.items() if found)
        raise HarnessError(
            f"{results}: no run of {names} at profile {profile!r}; "
            f"{f'run here: {run}' if run else 'nothing has been run here'}; give profile=P, or run it: "
            "harness run SUITE profile=P"
        )
    folders = [f for f in (store.reports / suites[0].profile,) if (f / "report.json").is_file()]
    verdicts = {
        c["id"]: c["verdict"]
        for folder in folders
        for c in read_json(folder / "report.json")["claims"]
        if c["verdict"]
    }
    return tracking.sync(rows, results, uri or None, reports=folders, verdicts=verdicts).as_dict()

"""Rounds of trials that travel: planned here, executed on a bare machine, records imported afterwards.

Executing needs only torch, numpy, pydantic and PyYAML: there, ``python -m harness execute round.zip``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data import integrity
from harness.errors import HarnessError
from harness.execution.jobs import Folders, Job
from harness.exit_codes import OK, TRIAL_FAILED, USAGE
from harness.plugins import write_copy
from harness.records import importing
from harness.records.record import FINISHED, Record
from harness.records.store import Store
from harness.rounds import Round, read_round, unpack_artifacts, write_round

if TYPE_CHECKING:
    from harness.planning.plan import Plan
    from harness.planning.registration import Under

def export_round(
    plans: Sequence[Plan], store: Store, file: Path, registrations: Mapping[str, Under] | None = None
) -> int:
    """Write the pending trials of these plans; returns how many. Plug-ins and what the trials read travel along.

    ``registrations``: key of a suite -> what its trials run under.

    Raises StoreError if artifacts that a trial reads are no longer what was left.
    """
    from harness import registry
    from harness.runner import job_of, label_of

    chosen: dict[str, tuple[Job, str]] = {}
    needed: dict[str, Record] = {}
    for plan in plans:
        for item in plan.pending:
            identity = item.planned.trial.identity
            under = (registrations or {}).get(plan.suite.key)
            entries = under.of(item.planned) if under else {}
            job = job_of(item, None, timeout_seconds=plan.suite.timeout_seconds, registrations=entries)
            label = label_of(item)
            needed.update({job.needs[n].folder: i.record for n, i in item.needs.items() if i.record})
            if identity in chosen:
                first, label = chosen[identity]
                both = tuple(dict.fromkeys([*first.plugins, *job.plugins]))
                merged = {k: {**getattr(first, k), **getattr(job, k)} for k in ("probes", "registrations")}
                job = first.model_copy(update={**merged, "plugins": both})
            chosen[identity] = job, label
    for record in needed.values():
        store.checked_artifacts(record)
    named = {p.digest for job, _ in chosen.values() for p in job.plugins}
    content = Round(
        jobs=list(chosen.values()),
        plugins={p.digest: p for p in registry.loaded_plugins() if p.digest in named},
        artifacts={folder: record.artifacts for folder, record in needed.items()},
    )
    write_round(file, content, store.artifacts)
    return len(chosen)


def execute_round(file: Path, out: Path, data: Path, echo: Callable[[str], Any] = print) -> int:
    """Execute a round's trials one after another; returns how many failed.

    A trial whose record lies in ``out`` already is not run again, unless it rests on other code or artifacts.
    """
    content = read_round(file)
    store = Store(out)
    store.prepare()
    folders = Folders(
        data=data, work=store.work, plugins=store.runs / "plugins", records=store.records,
        artifacts=store.runs / "needed",
    )  # fmt: skip
    for plugin in content.plugins.values():
        write_copy(plugin, store.runs / "plugins")
    unpack_artifacts(file, content, store.runs / "needed")
    with store.shared("harness execute"):
        return _execute(content, store, folders, echo)


def _execute(content: Round, store: Store, folders: Folders, echo: Callable[[str], Any]) -> int:
    from harness.execution.executors import executor

    digests = {job.trial.data for job, _ in content.jobs}
    folders = replace(folders, stamps=integrity.stamps(folders.data, digests))
    labels = {job.trial.identity: label for job, label in content.jobs}
    failed = 0
    machine = executor("inline")
    for number, (job, record) in enumerate(machine.run([j for j, _ in content.jobs], folders, lambda *_: None), 1):
        store.write(record, folders.staging(job))
        failed += record.status not in FINISHED
        echo(
            f"{number}/{len(content.jobs)} {record.status} {record.seconds.get('total', 0):.1f} s "
            f"{labels[record.identity]}{'  ' + record.reason[-300:] if record.reason else ''}"
        )
    machine.close()
    return failed


def import_records(folder: Path, results: Path) -> int:
    """Bring the records (and artifacts) that `harness execute` left into this store; returns how many were new."""
    return importing.import_records(Store(folder), Store(results))


def main(arguments: Sequence[str]) -> int:
    """``execute`` without the command line's own dependencies."""
    parser = argparse.ArgumentParser(prog="harness execute", description=execute_round.__doc__)
    parser.add_argument("round_file", type=Path)
    parser.add_argument("--out", type=Path, default=Path("executed"))
    parser.add_argument("--data", type=Path, default=Path("results/data"))
    given = parser.parse_args(arguments)
    try:
        return TRIAL_FAILED if execute_round(given.round_file, given.out, given.data) else OK
    except HarnessError as error:
        print(f"error: {error}")
        return USAGE

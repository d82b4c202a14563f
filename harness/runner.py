"""Plan, execute, store; round by round until the plan asks for nothing.

Several suites run together share trials: each trial runs once, with every suite's probes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import plugins
from harness.data import integrity
from harness.data.integrity import Stamp
from harness.execution import jobs
from harness.execution.executors import Executor
from harness.execution.jobs import Folders, Job
from harness.exit_codes import INTERRUPTED, TERMINATED
from harness.fingerprint import trial_plugins
from harness.planning.durations import estimate_seconds
from harness.planning.plan import Plan, make_plan
from harness.planning.registering import keep_ledger, ledger_file
from harness.planning.registration import Under
from harness.planning.states import Item
from harness.planning.suite import Suite
from harness.records.accepted import accepted
from harness.records.plans import write_plan
from harness.records.record import FINISHED, Record, RecordSet, Row, code_of
from harness.records.store import Store


@dataclass
class Summary:
    """What a run did."""

    ran: int = 0
    """Trials executed now."""
    failed: list[tuple[str, Record]] = field(default_factory=list)
    """(label, record) of trials that crashed, timed out or ran out of memory."""
    plans: list[Plan] = field(default_factory=list)
    """The final plan of each suite."""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: int = 0
    """Exit code of the signal that stopped the run (130: SIGINT, 143: SIGTERM), or 0."""


class Watcher:
    """Told what happens; the command line shows it. All methods may be left as they are."""

    def round(self, number: int, pending: Sequence[Item], more: int, seconds: float) -> None:
        """A round begins: its trials, how many may follow, estimated seconds of work left in one worker."""

    def event(self, kind: str, label: str, share: float) -> None:
        """'started', 'progress' or a record's status, for one trial."""

    def stored(self, label: str, record: Record) -> None:
        """A record was written."""


def label_of(item: Item) -> str:
    """A trial in a few words."""
    p = item.planned
    parts = [p.suite, p.arm, *(f"{k}={v}" for k, v in p.cell.items())]
    parts += [f"{k.rpartition('.')[2]}={v:.3g}" for k, v in p.hyperparameters.items()]
    return " ".join([*parts, f"seed={p.trial.seed}", *([p.role] if p.role != "evaluation" else [])])


def plan_all(
    suites: Sequence[Suite], records: RecordSet, store: Store, only: Mapping[str, set[str]] | None = None,
    build: bool = True,
) -> list[Plan]:
    """Plans of several suites; each trial's probes are the union of what the suites want.

    ``build``: data that are not built yet are built; else they are named in the plans' notes.
    """
    log = accepted(store)
    plans = [make_plan(s, records, store.data, log, only, build=build) for s in suites]
    if len(suites) == 1:
        return plans
    wanted: dict[str, dict[str, Any]] = {}
    for plan in plans:
        for item in plan.items:
            if item.planned.probes:
                wanted.setdefault(item.planned.trial.identity, {}).update(item.planned.probes)
    return [make_plan(s, records, store.data, log, only, wanted, build) for s in suites]


def run(
    suites: Sequence[Suite],
    store: Store,
    executor: Executor,
    *,
    registrations: Mapping[str, Under] | None = None,
    only: Mapping[str, set[str]] | None = None,
    watcher: Watcher | None = None,
    after_store: Callable[[Row], None] | None = None,
    timeout: float | None = None,
    checkpoint_seconds: float = 30.0,
) -> Summary:
    """Run suites until nothing is pending. A trial that failed is tried once per call.

    ``registrations``: key of a suite -> what its trials run under; a suite that is absent gives no verdict.
    ``after_store`` is called with each stored record, once for each suite that plans it, e.g. by a tracking mirror;
    it must not block.
    """
    began = time.monotonic()
    watcher, registrations = watcher or Watcher(), registrations or {}
    store.prepare()
    records = store.load()
    summary = Summary(notes=list(records.notes))
    attempted: set[str] = set()
    stamps: tuple[Stamp, ...] = ()
    number = 0
    while True:
        plans = plan_all(suites, records, store, only)
        # Kept before the trials run: what a killed run leaves is then known to belong to a suite.
        summary.plans = _keep(plans if only is None else plan_all(suites, records, store), store)
        todo = _todo(plans, attempted)
        if not todo:
            break
        number += 1
        items = [entry.item for entry in todo.values()]
        attempted |= set(todo)
        estimates = estimate_seconds(items, records)
        watcher.round(number, items, sum(p.more for p in plans), sum(estimates))
        unread = {i.planned.trial.data for i in items} - {s.digest for s in stamps}
        stamps += integrity.stamps(store.data, unread)
        folders = replace(folders_of(store), stamps=stamps)
        batch = [
            job_of(
                entry.item, folders, timeout_seconds=timeout or entry.timeout_seconds, expected_seconds=seconds,
                checkpoint_seconds=checkpoint_seconds, registrations=entry.registered(registrations),
            )
            for entry, seconds in zip(todo.values(), estimates, strict=True)
        ]

        def on_event(job: Job, kind: str, share: float, _round: dict[str, _Todo] = todo) -> None:
            watcher.event(kind, label_of(_round[job.trial.identity].item), share)

        try:
            for job, record in executor.run(batch, folders, on_event):
                label = label_of(todo[job.trial.identity].item)
                written = store.write(record, folders.staging(job))
                if record.status in FINISHED:
                    shutil.rmtree(store.work / record.identity, ignore_errors=True)
                if written.record is not None:
                    records.add(written.record)
                else:
                    records.discard(record)
                summary.notes += [f"{label}: {note}" for note in (written.note, *record.notes) if note]
                summary.ran += 1
                watcher.stored(label, record)
                if record.status not in FINISHED:
                    summary.failed.append((label, record))
                if after_store and written.record is not None:
                    for shared in todo[job.trial.identity].sharers.values():
                        after_store(Row(shared.planned, written.record))
        except (KeyboardInterrupt, SystemExit) as stop:
            # Ctrl-C or SIGTERM: the executor has yielded what was finished and stopped the rest.
            summary.interrupted = TERMINATED if isinstance(stop, SystemExit) else INTERRUPTED
            summary.plans = _keep(plan_all(suites, records, store), store)
            break
    if not summary.interrupted:
        _keep_ledgers(summary, store, registrations)
    summary.seconds = time.monotonic() - began
    return summary


def _keep(plans: list[Plan], store: Store) -> list[Plan]:
    for plan in plans:
        write_plan(store, plan.suite.key, plan.suite.profile, plan.as_dict())
    return plans


def _keep_ledgers(summary: Summary, store: Store, registrations: Mapping[str, Under]) -> None:
    """Of each registered suite that is through: what its claims came to, should its design ever be superseded."""
    for plan in summary.plans:
        under = registrations.get(plan.suite.key)
        if under is None or under.suite != plan.suite.name or plan.pending or plan.more:
            continue
        if summary.ran or not ledger_file(store, under.entry).is_file():
            keep_ledger(store, under.entry, plan.suite, [Row(i.planned, i.record) for i in plan.items])


@dataclass
class _Todo:
    """A trial of a round, and the suites that plan it."""

    item: Item
    timeout_seconds: float
    sharers: dict[str, Item] = field(default_factory=dict)
    """Key of a suite -> the trial as that suite plans it."""

    def registered(self, registrations: Mapping[str, Under]) -> dict[str, str]:
        """Name of a suite -> hash of its entry, over all suites that plan the trial."""
        out: dict[str, str] = {}
        for key, item in self.sharers.items():
            out |= registrations[key].of(item.planned) if key in registrations else {}
        return out


def _todo(plans: Sequence[Plan], attempted: set[str]) -> dict[str, _Todo]:
    """Identity -> trial: each once, in the order of the plans."""
    out: dict[str, _Todo] = {}
    for plan in plans:
        for item in plan.pending:
            identity = item.planned.trial.identity
            if identity not in attempted:
                entry = out.setdefault(identity, _Todo(item, plan.suite.timeout_seconds))
                entry.sharers.setdefault(plan.suite.key, item)
    return out


def folders_of(store: Store) -> Folders:
    """Where jobs find and leave things in this store."""
    return Folders(
        data=store.data, work=store.work, plugins=store.runs / "plugins", records=store.records,
        artifacts=store.artifacts,
    )


def job_of(item: Item, folders: Folders | None, **settings: Any) -> Job:
    """The planned trial as a job. Copies of the plug-ins that it names are left in the folders, if given."""
    planned = item.planned
    named = trial_plugins(planned.trial, planned.probes)
    if folders is not None and folders.plugins is not None:
        for plugin, _ in named:
            plugins.write_copy(plugin, folders.plugins)
    return jobs.job_of(
        planned.trial,
        tuple(jobs.Plugin(name=p.name, digest=p.digest, kinds=kinds) for p, kinds in named),
        probes={k: dict(v) for k, v in planned.probes.items()},
        needs={name: _need(need.record) for name, need in item.needs.items() if need.record},
        exclusive=planned.role == "timing",
        **settings,
    )


def _need(record: Record) -> jobs.Need:
    folder = f"{record.identity}.{code_of(record)}"
    return jobs.Need(identity=record.identity, digest=record.artifacts_digest, folder=folder)

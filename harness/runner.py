"""Plan, execute, store; round by round until the plan asks for nothing.

Several suites run together share trials: each trial runs once, with every suite's probes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import plugins
from harness.execution import jobs
from harness.execution.executors import Executor
from harness.execution.jobs import Folders, Job
from harness.fingerprint import trial_plugins
from harness.planning.plan import Plan, estimate_seconds, make_plan
from harness.planning.states import Item
from harness.planning.suite import Suite
from harness.records.record import FINISHED, Record
from harness.records.store import Row, Shelf, Store


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
    interrupted: bool = False


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
    suites: Sequence[Suite], shelf: Shelf, store: Store, only: Mapping[str, set[str]] | None = None
) -> list[Plan]:
    """Plans of several suites; each trial's probes are the union of what the suites want."""
    accepted = store.accepted()
    plans = [make_plan(s, shelf, store.data, accepted, only) for s in suites]
    if len(suites) == 1:
        return plans
    wanted: dict[str, dict[str, Any]] = {}
    for plan in plans:
        for item in plan.items:
            if item.planned.probes:
                wanted.setdefault(item.planned.trial.identity, {}).update(item.planned.probes)
    return [make_plan(s, shelf, store.data, accepted, only, wanted) for s in suites]


def run(
    suites: Sequence[Suite],
    store: Store,
    executor: Executor,
    *,
    only: Mapping[str, set[str]] | None = None,
    watcher: Watcher | None = None,
    after_store: Callable[[Row], None] | None = None,
    timeout: float | None = None,
    checkpoint_seconds: float = 30.0,
) -> Summary:
    """Run suites until nothing is pending. A trial that failed is tried once per call.

    ``after_store`` is called with each stored record, once for each suite that plans it, e.g. by a tracking mirror;
    it must not block.
    """
    began = time.monotonic()
    watcher = watcher or Watcher()
    store.prepare()
    shelf = store.load()
    summary = Summary(notes=list(shelf.notes))
    attempted: set[str] = set()
    number = 0
    while True:
        plans = plan_all(suites, shelf, store, only)
        todo: dict[str, Item] = {}
        sharers: dict[str, dict[str, Item]] = {}
        for plan in plans:
            for item in plan.pending:
                identity = item.planned.trial.identity
                if identity not in attempted:
                    todo.setdefault(identity, item)
                    sharers.setdefault(identity, {}).setdefault(item.planned.suite, item)
        if not todo:
            break
        number += 1
        items = list(todo.values())
        attempted |= set(todo)
        estimates = estimate_seconds(items, shelf)
        watcher.round(number, items, sum(p.more for p in plans), sum(estimates))
        folders = folders_of(store)
        batch = [
            job_of(
                item, folders, timeout_seconds=timeout or _timeout(suites, item), expected_seconds=seconds,
                checkpoint_seconds=checkpoint_seconds,
            )
            for item, seconds in zip(items, estimates, strict=True)
        ]
        by_identity = {i.planned.trial.identity: i for i in items}

        def on_event(job: Job, kind: str, share: float, _items: dict[str, Item] = by_identity) -> None:
            watcher.event(kind, label_of(_items[job.trial.identity]), share)

        try:
            for job, record in executor.run(batch, folders, on_event):
                item = by_identity[job.trial.identity]
                store.write(record, folders.staging(job))
                if record.status in FINISHED:
                    shutil.rmtree(store.work / record.identity, ignore_errors=True)
                shelf.add(record)
                summary.ran += 1
                watcher.stored(label_of(item), record)
                if record.status not in FINISHED:
                    summary.failed.append((label_of(item), record))
                if after_store:
                    for shared in sharers[job.trial.identity].values():
                        after_store(Row(shared.planned, record))
        except (KeyboardInterrupt, SystemExit):
            # Ctrl-C or SIGTERM: the executor has yielded what was finished and stopped the rest.
            summary.interrupted = True
            break
    summary.plans = plan_all(suites, shelf, store)
    for plan in summary.plans:
        store.write_plan(plan.suite.name, plan.suite.profile, plan.as_dict())
    summary.seconds = time.monotonic() - began
    return summary


def _timeout(suites: Sequence[Suite], item: Item) -> float:
    return next(s.timeout_seconds for s in suites if s.name == item.planned.suite)


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
        exclusive=planned.role == "timing",
        **settings,
    )

"""Losses of a user's method, recomputed from its weights where its code cannot have touched the evaluation.

A plug-in shares its trial's process with the evaluation. So the trial leaves the weights that it was evaluated
with, and a process of its own evaluates them again: one that never imported the plug-in, or, where the plug-in
is part of the forward pass, one that imported it after the code of the evaluation.
"""

from __future__ import annotations

import contextlib
import importlib

from harness.determinism import make_deterministic
from harness.execution.execute import WEIGHTS, explain, load_plugins
from harness.execution.jobs import Folders, Job
from harness.fingerprint import import_closure
from harness.records.record import Record
from harness.workload import Context, Outcome, workload_module

WITHOUT = frozenset({"optimizer", "rank"})
"""Kinds of method that a forward pass can do without; any other is loaded."""


def is_due(job: Job, record: Record) -> bool:
    """Whether the record's losses are yet to be recomputed."""
    return bool(job.plugins) and record.status == "completed" and not record.verified


def verify(job: Job, folders: Folders, record: Record) -> Record:
    """The record, saying how its losses were recomputed; crashed, without its numbers, if they differ."""
    try:
        return _verified(job, folders, record)
    except Exception as error:
        return _refused(record, f"its losses could not be recomputed from its weights: {explain(error)}")


def _verified(job: Job, folders: Folders, record: Record) -> Record:
    # The evaluation's code first: what is imported after it finds it as it is.
    for name in sorted(import_closure([f"harness.workloads.{job.trial.workload}"])):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    inside = [p for p in job.plugins if not WITHOUT.issuperset(p.kinds)]
    load_plugins(inside, folders)
    module = workload_module(job.trial.workload)
    make_deterministic(job.device, job.threads)
    scratch = folders.scratch(job)
    context = Context(
        data_folder=folders.data, work_folder=scratch, artifact_folder=scratch, needs=folders.needed(job),
        weights_file=scratch / WEIGHTS,
    )
    again = module.evaluate(job.trial, module.Config.model_validate(job.trial.config), context)
    how = "with the plug-in, loaded after the evaluation code" if inside else "without the plug-in"
    if difference := _difference(again, record):
        names = ", ".join(sorted({p.name for p in job.plugins}))
        told = f"{difference} recomputed from its weights {how} ({names}); no number of this trial is kept"
        return _refused(record, told)
    return record.model_copy(update={"verified": how})


def _difference(again: Outcome, record: Record) -> str:
    """The first number that did not come again, to the bit; empty if all did."""
    for name, value in again.metrics.items():
        if value != record.metrics.get(name):
            return f"{name} was {record.metrics.get(name)!r} in the trial, and is {value!r}"
    for name, table in again.tables.items():
        if table != record.tables.get(name):
            return f"table {name} is another in the trial than"
    return ""


def _refused(record: Record, reason: str) -> Record:
    empty: dict[str, object] = {"metrics": {}, "curves": {}, "probes": {}, "tables": {}, "artifacts": {}}
    return record.model_copy(update={"status": "crashed", "reason": reason, **empty})

"""Losses of a user's method, recomputed from its weights where its code cannot have touched the evaluation.

A plug-in shares its trial's process with the evaluation. So the trial leaves the weights that it was evaluated
with, and a process of its own evaluates them again: one that never imported the plug-in, or, where the plug-in
is part of the forward pass, one that imported it after the code of the evaluation.
"""

from __future__ import annotations

import contextlib
import importlib

from harness import plugins, registry
from harness.determinism import make_deterministic
from harness.execution.execute import WEIGHTS, explain
from harness.execution.jobs import Folders, Job
from harness.fingerprint import import_closure
from harness.records.record import Record
from harness.workload import Context, workload_module

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
    for plugin in inside:
        assert folders.plugins is not None
        registry.adopt(plugins.read_copy(folders.plugins, plugin.name, plugin.digest))
    module = workload_module(job.trial.workload)
    make_deterministic(job.device, job.threads)
    scratch = folders.scratch(job)
    context = Context(
        data_folder=folders.data, work_folder=scratch, artifact_folder=scratch, needs=folders.needed(job),
        weights_file=scratch / WEIGHTS,
    )
    again = module.evaluate(job.trial, module.Config.model_validate(job.trial.config), context)
    for name, value in again.items():
        if value != record.metrics.get(name):
            names = ", ".join(p.name for p in job.plugins)
            return _refused(
                record,
                f"{name} was {record.metrics.get(name)!r} in the trial, and is {value!r} recomputed from its "
                f"weights where plug-in {names} had no hand in the evaluation; no number of this trial is kept",
            )
    how = "with the plug-in, loaded after the evaluation code" if inside else "without the plug-in"
    return record.model_copy(update={"verified": how})


def _refused(record: Record, reason: str) -> Record:
    empty: dict[str, object] = {"metrics": {}, "curves": {}, "probes": {}, "artifacts": {}}
    return record.model_copy(update={"status": "crashed", "reason": reason, **empty})

"""Running one trial in this process: from a Job to a Record, whatever happens on the way.

Under the trial's work folder: ``lock``-ed checkpoints, and ``result.json`` once it is done, so that a result
whose runner was killed before it could store it is not computed twice. Needs torch, numpy, pydantic, PyYAML.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import plugins, registry
from harness.determinism import make_deterministic
from harness.environment import environment, missing_device, numerics_class
from harness.errors import BusyError, DamagedError, HarnessError
from harness.execution.jobs import Folders, Job, Plugin
from harness.files import digest_of_file, links_below, lock, write_atomically
from harness.fingerprint import trial_fingerprint
from harness.records.encoding import decode, encode
from harness.records.record import FINISHED, Artifact, Record, Status, artifacts_digest, rests_on
from harness.trial import digest
from harness.workload import Context, Outcome, method_sections, workload_module

NOT_VERIFIED = "not: the workload evaluates no stored weights"
REASON_CHARACTERS = 4000
"""Length of a record's reason: its end is kept."""
RESULT = "result.json"
WEIGHTS = "weights.pt"
"""What a trial with plug-ins was evaluated with, kept until its losses are recomputed."""
OUT_OF_MEMORY = (
    "can't allocate memory", "Cannot allocate memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
)
"""What messages of exceptions other than MemoryError and torch's own say of exhausted memory."""


class TrialBusyError(Exception):
    """Another process is running this trial now."""


# --- execution ---------------------------------------------------------------------------------------------


def execute(
    job: Job, folders: Folders, on_progress: Callable[[float], None] | None = None, *, wait: bool = True
) -> Record:
    """Run one trial here and return its record; exceptions of the trial become its status and reason.

    Raises TrialBusyError if another process holds the trial and ``wait`` is false. KeyboardInterrupt passes.
    A result that is there already (left by a killed runner, or stored meanwhile by another) is returned
    without running again. Timeouts are the executor's affair.
    """
    started, began = _now(), time.monotonic()
    try:
        load_plugins(job.plugins, folders)
        prints = trial_fingerprint(job.trial)
        if missing := missing_device(job.device):
            return failed(job, "skipped", missing, time.monotonic() - began, started)
        numerics = numerics_class(job.device, job.threads)
    except Exception as error:
        return failed(job, "crashed", explain(error), time.monotonic() - began, started)
    with trial_lock(job, folders, wait):
        found = _already(job, folders, prints, numerics)
        if found is not None:
            return found
        try:
            token = digest([rests_on(prints, job.reads), numerics])
            fields = _run(job, folders, token, on_progress or (lambda share: None))
            record = _record(job, started, began, prints, numerics, fields)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            fields = {"status": _status_of(error), "reason": explain(error)}
            record = _record(job, started, began, prints, numerics, fields)
        leave(job, folders, record)
        return record


def failed(job: Job, status: Status, reason: str, seconds: float, started: str = "") -> Record:
    """A record for a trial that could not report itself: its worker died, hung, or never came to run it."""
    try:
        prints = trial_fingerprint(job.trial)
    except Exception:
        prints = {}
    try:
        numerics = numerics_class(job.device, job.threads)
        about = _environment(job)
    except Exception:
        numerics, about = "", {}
    return Record(
        trial=job.trial, status=status, reason=reason[-REASON_CHARACTERS:], seconds={"total": seconds},
        fingerprint=prints, needs=job.reads, registrations=job.registrations, numerics_class=numerics,
        environment=about, started=started or _now(),
    )


@contextmanager
def trial_lock(job: Job, folders: Folders, wait: bool = True) -> Iterator[None]:
    """Hold the trial for this process; the kernel lets go of it when the process ends, however it ends.

    Raises TrialBusyError if it is held elsewhere and ``wait`` is false.
    """
    with ExitStack() as stack:
        try:
            path = folders.work / "locks" / job.trial.identity
            stack.enter_context(lock(path, seconds=None if wait else 0.0))
        except BusyError:
            raise TrialBusyError(f"trial {job.trial.identity} is being run by another process") from None
        yield


def _run(
    job: Job, folders: Folders, token: str, on_progress: Callable[[float], None]
) -> dict[str, Any]:
    """The workload's outcome as fields of a record."""
    module = workload_module(job.trial.workload)
    config = module.Config.model_validate(job.trial.config)
    for section, kind, value in method_sections(module, config):
        reason = registry.unavailable(kind, value["name"])
        if reason:
            return {"status": "skipped", "reason": f"{section} {value['name']!r}: {reason}"}
    make_deterministic(job.device, job.threads)
    scratch, staging = folders.scratch(job), folders.staging(job)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    (scratch / RESULT).unlink(missing_ok=True)
    folders.check_data(job)
    outcome: Outcome = module.run(
        job.trial,
        config,
        Context(
            data_folder=folders.data,
            work_folder=scratch,
            artifact_folder=staging,
            probes=job.probes,
            needs=_needed(job, folders),
            weights_file=scratch / WEIGHTS if job.plugins else None,
            checkpoint_token=token,
            checkpoint_seconds=job.checkpoint_seconds,
            on_progress=on_progress,
        ),
    )
    folders.check_data(job)
    return {
        "status": "completed" if outcome.diverged_step is None else "diverged",
        "reason": outcome.reason,
        "diverged_step": outcome.diverged_step,
        "metrics": outcome.metrics,
        "curves": outcome.curves,
        "probes": {
            name: table.model_copy(update={"about": {**table.about, "asked": dict(job.probes.get(name, {}))}})
            for name, table in outcome.probes.items()
        },
        "tables": outcome.tables,
        "seconds": outcome.seconds,
        "resumed": outcome.resumed,
        "notes": outcome.notes,
        "artifacts": _artifacts(staging),
        "verified": "" if not job.plugins or hasattr(module, "evaluate") else NOT_VERIFIED,
    }


def _needed(job: Job, folders: Folders) -> dict[str, Path]:
    """Name -> folder of what the job reads of other trials. HarnessError where it is not what they left."""
    found = folders.needed(job)
    for name, folder in found.items():
        if artifacts_digest(_artifacts(folder)) != job.needs[name].digest:
            raise HarnessError(
                f"artifacts of {name!r}: {folder} is not what trial {job.needs[name].identity[:12]} left, "
                f"{'a file was altered, added or removed' if folder.is_dir() else 'the folder is missing'}; "
                "the next `harness run` makes them again"
            )
    return found


def load_plugins(wanted: Iterable[Plugin], folders: Folders) -> None:
    """Import copies of these plug-ins that are not yet imported."""
    for plugin in wanted:
        if (plugin.name, plugin.digest) not in {(p.name, p.digest) for p in registry.loaded_plugins()}:
            assert folders.plugins is not None
            registry.adopt(plugins.read_copy(folders.plugins, plugin.name, plugin.digest))


def _record(
    job: Job, started: str, began: float, prints: dict[str, str], numerics: str, fields: dict[str, Any]
) -> Record:
    seconds = {**fields.pop("seconds", {}), "total": time.monotonic() - began}
    return Record(
        trial=job.trial, started=started, seconds=seconds, fingerprint=prints, needs=job.reads,
        registrations=job.registrations, numerics_class=numerics, environment=_environment(job),
        plugins={p.name: p.digest for p in registry.loaded_plugins()}, **fields,
    )


def _environment(job: Job) -> dict[str, Any]:
    about = environment(job.device, job.threads)
    return {**about, "machine": "exclusive" if job.exclusive else "shared"}


def _artifacts(folder: Path) -> dict[str, Artifact]:
    """Name (path without suffix) -> every file below the folder; two of one name keep their suffixes."""
    if links := links_below(folder):
        raise HarnessError(f"{links[0].name}: a symbolic link among the trial's files; leave the file itself")
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    stems = [p.relative_to(folder).with_suffix("").as_posix() for p in files]
    out = {}
    for path, stem in zip(files, stems, strict=True):
        relative = path.relative_to(folder).as_posix()
        name = stem if stems.count(stem) == 1 else relative
        out[name] = Artifact(file=relative, sha256=digest_of_file(path), bytes=path.stat().st_size)
    return out


# --- results that are there already ------------------------------------------------------------------------


def _already(job: Job, folders: Folders, prints: dict[str, str], numerics: str) -> Record | None:
    """The result that a killed runner left, or that another runner stored since this one planned."""
    # In this order: a runner stores the record first and removes the scratch folder then.
    paths = [folders.scratch(job) / RESULT]
    if folders.records:
        identity = job.trial.identity
        paths += sorted((folders.records / identity[:2]).glob(f"{identity}.*.json"))
    for path in paths:
        try:
            record = decode(path.read_bytes())
        except (OSError, DamagedError):
            continue
        good = (
            record.trial.identity == job.trial.identity
            and record.rests_on == rests_on(prints, job.reads)
            and record.numerics_class == numerics
            and record.status in FINISHED
            and (record.status != "completed" or not record.lacks_probe(job.probes))
            and (path.name != RESULT or _has_files(record, job, folders))
        )
        if good:
            return record
    return None


def _has_files(record: Record, job: Job, folders: Folders) -> bool:
    def intact(artifact: Artifact) -> bool:
        path = folders.staging(job) / artifact.file
        return path.is_file() and digest_of_file(path) == artifact.sha256

    unverified = bool(job.plugins) and record.status == "completed" and not record.verified
    there = not unverified or (folders.scratch(job) / WEIGHTS).is_file()
    return there and all(intact(a) for a in record.artifacts.values())


def leave(job: Job, folders: Folders, record: Record) -> None:
    """Leave the result in the scratch folder until the runner has stored it; a full disk fails nothing here."""
    with suppress(OSError):
        write_atomically(folders.scratch(job) / RESULT, encode(record))


# --- failures ----------------------------------------------------------------------------------------------


def _status_of(error: BaseException) -> Status:
    torch_says = type(error).__name__ == "OutOfMemoryError"
    told = isinstance(error, (RuntimeError, OSError)) and any(text in str(error) for text in OUT_OF_MEMORY)
    return "out_of_memory" if isinstance(error, MemoryError) or torch_says or told else "crashed"


def explain(error: BaseException) -> str:
    """Users' errors by their message; others with the end of their traceback."""
    if isinstance(error, HarnessError):
        return str(error)[-REASON_CHARACTERS:]
    trace = "".join(traceback.format_exception(error))
    return trace[-REASON_CHARACTERS:].strip()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Rounds of trials that travel: planned here, executed on a bare machine, records imported afterwards.

Executing needs only torch, numpy, pydantic and PyYAML: there, ``python -m harness execute round.json``.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import HarnessError
from harness.execution.jobs import Folders, Job
from harness.files import write_atomically
from harness.plugins import Plugin, write_copy
from harness.records.record import FINISHED, Record
from harness.records.store import Store

if TYPE_CHECKING:
    from harness.planning.plan import Plan

FORMAT = 2


def export_round(plans: Sequence[Plan], store: Store, file: Path) -> int:
    """Write the pending trials of these plans; returns how many. Plug-ins travel inside the file."""
    from harness import registry
    from harness.runner import job_of, label_of

    chosen: dict[str, tuple[Job, str]] = {}
    for plan in plans:
        for item in plan.pending:
            identity = item.planned.trial.identity
            job, label = job_of(item, None, timeout_seconds=plan.suite.timeout_seconds), label_of(item)
            if identity in chosen:
                first, label = chosen[identity]
                both = dict.fromkeys([*first.plugins, *job.plugins])
                job = first.model_copy(update={"probes": {**first.probes, **job.probes}, "plugins": tuple(both)})
            chosen[identity] = job, label
    named = {p.digest for job, _ in chosen.values() for p in job.plugins}
    content = {
        "format": FORMAT,
        "plugins": {p.digest: _packed(p) for p in registry.loaded_plugins() if p.digest in named},
        "jobs": [{"job": job.model_dump(mode="json"), "label": label} for job, label in chosen.values()],
    }
    write_atomically(file, json.dumps(content, allow_nan=False).encode())
    return len(chosen)


def _packed(plugin: Plugin) -> dict[str, Any]:
    files = {name: base64.b64encode(data).decode() for name, data in plugin.files.items()}
    return {"name": plugin.name, "files": files}


def _unpacked(packed: Mapping[str, Any]) -> Plugin:
    files = {name: base64.b64decode(text, validate=True) for name, text in packed["files"].items()}
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"a plug-in's file {name!r} lies outside of its folder")
    return Plugin(path=Path(packed["name"]), files=files)


def read_round(file: Path) -> dict[str, Any]:
    """The content of an exported round. Raises HarnessError naming what is wrong."""
    try:
        content = json.loads(Path(file).read_bytes())
        if content["format"] != FORMAT:
            raise HarnessError(f"{file}: round format {content['format']}, this version reads {FORMAT}")
        for entry in content["jobs"]:
            entry["job"] = Job.model_validate(entry["job"])
        for digest, packed in content["plugins"].items():
            content["plugins"][digest] = plugin = _unpacked(packed)
            if plugin.digest != digest:
                raise HarnessError(f"{file}: plug-in {plugin.name} is not what it was when exported; export again")
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{file}: not a round written by `harness plan --export`: {error}") from None
    return content


def execute_round(file: Path, out: Path, data: Path, echo: Callable[[str], Any] = print) -> int:
    """Execute a round's trials one after another; returns how many failed.

    A trial whose record lies in ``out`` already is not run again.
    """
    from harness.execution.executors import executor

    content = read_round(file)
    store = Store(out)
    store.prepare()
    folders = Folders(data=data, work=store.work, plugins=store.runs / "plugins")
    for plugin in content["plugins"].values():
        write_copy(plugin, store.runs / "plugins")
    done = {r.identity for records in store.load().by_identity.values() for r in records if r.status in FINISHED}
    todo = [e for e in content["jobs"] if e["job"].trial.identity not in done]
    labels = {e["job"].trial.identity: e["label"] for e in todo}
    failed = 0
    machine = executor("inline")
    for number, (job, record) in enumerate(machine.run([e["job"] for e in todo], folders, lambda *_: None), 1):
        store.write(record, folders.staging(job))
        failed += record.status not in FINISHED
        echo(
            f"{number}/{len(todo)} {record.status} {record.seconds.get('total', 0):.1f} s "
            f"{labels[record.identity]}{'  ' + record.reason[-300:] if record.reason else ''}"
        )
    machine.close()
    return failed


def import_records(folder: Path, results: Path) -> int:
    """Copy the records (and artifacts) that `harness execute` left into this store; returns how many."""
    source, target = Store(folder), Store(results)
    if not source.records.is_dir():
        raise HarnessError(f"{folder}: no records; give the folder that `harness execute --out` wrote")
    target.prepare()
    count = 0
    for path in sorted(source.records.glob("*/*.json")):
        try:
            record = Record.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise HarnessError(f"{path}: damaged record: {str(error).splitlines()[0]}; execute it again") from None
        staging = target.runs / "staging" / record.identity
        artifacts = source.artifact_folder(record)
        if artifacts.is_dir():
            shutil.copytree(artifacts, staging, dirs_exist_ok=True)
        target.write(record, staging)
        count += 1
    return count


def main(arguments: Sequence[str]) -> int:
    """``execute`` without the command line's own dependencies."""
    parser = argparse.ArgumentParser(prog="harness execute", description=execute_round.__doc__)
    parser.add_argument("round_file", type=Path)
    parser.add_argument("--out", type=Path, default=Path("executed"))
    parser.add_argument("--data", type=Path, default=Path("results/data"))
    given = parser.parse_args(arguments)
    try:
        return 3 if execute_round(given.round_file, given.out, given.data) else 0
    except HarnessError as error:
        print(f"error: {error}")
        return 2

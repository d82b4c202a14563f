"""Rounds of trials that travel: planned here, executed on a bare machine, records imported afterwards.

Executing needs only torch, numpy, pydantic and PyYAML: there, ``python -m harness execute round.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import HarnessError
from harness.records.record import FINISHED, Record
from harness.records.store import Store, write_atomically
from harness.trial import Trial

if TYPE_CHECKING:
    from harness.planning.plan import Plan

FORMAT = 1


def export_round(plans: Sequence[Plan], store: Store, file: Path) -> int:
    """Write the pending trials of these plans; returns how many. Plug-ins travel inside the file."""
    from harness import registry
    from harness.runner import label_of

    tasks: dict[str, dict[str, Any]] = {}
    for plan in plans:
        for item in plan.pending:
            entry = tasks.setdefault(
                item.planned.trial.identity,
                {
                    "trial": item.planned.trial.model_dump(mode="json"),
                    "probes": {},
                    "label": label_of(item),
                    "exclusive": item.planned.role == "timing",
                    "timeout_seconds": plan.suite.timeout_seconds,
                },
            )
            entry["probes"].update(item.planned.probes)
    content = {
        "format": FORMAT,
        "plugins": {p.name: p.read_text(encoding="utf-8") for p in registry.plugin_paths()},
        "tasks": list(tasks.values()),
    }
    write_atomically(file, json.dumps(content, allow_nan=False).encode())
    return len(tasks)


def read_round(file: Path) -> dict[str, Any]:
    """The content of an exported round. Raises HarnessError naming what is wrong."""
    try:
        content = json.loads(Path(file).read_bytes())
        if content["format"] != FORMAT:
            raise HarnessError(f"{file}: round format {content['format']}, this version reads {FORMAT}")
        for entry in content["tasks"]:
            entry["trial"] = Trial.model_validate(entry["trial"])
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{file}: not a round written by `harness plan --export`: {error}") from None
    return content


def execute_round(file: Path, out: Path, data: Path, echo: Callable[[str], Any] = print) -> int:
    """Execute a round's trials in this process, one after another; returns how many failed.

    A trial whose record lies in ``out`` already is not run again.
    """
    from harness.execution.execute import Task
    from harness.execution.executors.inline import InlineExecutor

    content = read_round(file)
    store = Store(out)
    store.prepare()
    plugins = []
    for name, source in content["plugins"].items():
        path = store.runs / "plugins" / Path(name).name
        write_atomically(path, source.encode())
        plugins.append(str(path))
    done = {r.identity for records in store.load().by_identity.values() for r in records if r.status in FINISHED}
    todo = [e for e in content["tasks"] if e["trial"].identity not in done]
    labels = {e["trial"].identity: e["label"] for e in todo}
    tasks = []
    for entry in todo:
        compute = entry["trial"].config.get("compute", {})
        tasks.append(
            Task(
                trial=entry["trial"],
                probes=entry["probes"],
                plugins=plugins,
                data_folder=str(data),
                work_folder=str(store.work),
                timeout_seconds=entry["timeout_seconds"],
                exclusive=entry["exclusive"],
                threads=int(compute.get("threads", 1)),
                device=str(compute.get("device", "cpu")),
            )
        )
    failed = 0
    for number, (task, record) in enumerate(InlineExecutor().run(tasks, lambda *_: None), 1):
        store.write(record, task.staging)
        failed += record.status not in FINISHED
        echo(
            f"{number}/{len(tasks)} {record.status} {record.seconds.get('total', 0):.1f} s "
            f"{labels[record.identity]}{'  ' + record.reason[-300:] if record.reason else ''}"
        )
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

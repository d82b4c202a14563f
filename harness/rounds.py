"""The file of an exported round: a ZIP archive of jobs, with the plug-ins and artifacts that they name.

round.json             jobs with their labels, plug-ins, which artifacts belong to which folder
artifacts/<SHA-256>    a file that a needed trial left
"""

from __future__ import annotations

import base64
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from harness.errors import HarnessError
from harness.execution.jobs import Job
from harness.files import atomic_file, digest_of_file
from harness.plugins import Plugin
from harness.records.record import Artifact, artifacts_digest

FORMAT = 3
CONTENT = "round.json"


@dataclass(frozen=True, kw_only=True)
class Round:
    """What travels."""

    jobs: list[tuple[Job, str]]
    """Each with its label."""
    plugins: dict[str, Plugin]
    """By digest."""
    artifacts: dict[str, dict[str, Artifact]] = field(default_factory=dict)
    """Folder, as jobs name it -> name -> file that a needed trial left."""


def write_round(file: Path, content: Round, artifacts: Path) -> None:
    """Write a round; ``artifacts`` holds the folders of artifacts."""
    head = {
        "format": FORMAT,
        "plugins": {digest: _packed(plugin) for digest, plugin in content.plugins.items()},
        "artifacts": {
            folder: {name: a.model_dump(mode="json") for name, a in files.items()}
            for folder, files in content.artifacts.items()
        },
        # Without defaults: a version that has one field less reads it, too.
        "jobs": [
            {"job": job.model_dump(mode="json", exclude_defaults=True), "label": label}
            for job, label in content.jobs
        ],
    }
    with atomic_file(file) as out, zipfile.ZipFile(out, "w") as archive:
        archive.writestr(CONTENT, json.dumps(head, allow_nan=False), zipfile.ZIP_DEFLATED)
        # Files of one content travel once.
        sources = {a.sha256: artifacts / f / a.file for f, fs in content.artifacts.items() for a in fs.values()}
        for sha, source in sources.items():
            archive.write(source, f"artifacts/{sha}")


def read_round(file: Path) -> Round:
    """The content of an exported round, its artifacts apart. Raises HarnessError naming what is wrong."""
    try:
        if not zipfile.is_zipfile(file):
            Path(file).read_bytes()
            raise ValueError("it is no ZIP archive")
        with zipfile.ZipFile(file) as archive:
            head = json.loads(archive.read(CONTENT))
            have = set(archive.namelist())
        if head["format"] != FORMAT:
            raise HarnessError(f"{file}: round format {head['format']}, this version reads {FORMAT}: export again")
        content = _parsed(head)
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{file}: not a round written by `harness plan --export`: {error}") from None
    for digest, plugin in content.plugins.items():
        if plugin.digest != digest:
            raise HarnessError(f"{file}: plug-in {plugin.name} is not what it was when exported; export again")
    for job, label in content.jobs:
        for name, need in job.needs.items():
            files = content.artifacts.get(need.folder, {})
            lacking = {f"artifacts/{a.sha256}" for a in files.values()} - have
            if lacking or artifacts_digest(files) != need.digest:
                raise HarnessError(f"{file}: {label} needs artifacts of {name!r} that are not in it; export again")
    return content


def unpack_artifacts(file: Path, content: Round, target: Path) -> None:
    """Put the artifacts of a round under ``target``. HarnessError where one is not what was exported."""
    with zipfile.ZipFile(file) as archive:
        for folder, files in content.artifacts.items():
            for artifact in files.values():
                path = target / folder / artifact.file
                if path.is_file() and digest_of_file(path) == artifact.sha256:
                    continue
                try:
                    with archive.open(f"artifacts/{artifact.sha256}") as source, atomic_file(path) as out:
                        shutil.copyfileobj(source, out)
                    damaged = digest_of_file(path) != artifact.sha256
                except zipfile.BadZipFile:
                    damaged = True
                if damaged:
                    path.unlink(missing_ok=True)
                    raise HarnessError(f"{file}: its {folder}/{artifact.file} is damaged; copy or export it again")


def _parsed(head: Mapping[str, Any]) -> Round:
    try:
        content = Round(
            jobs=[(Job.model_validate(e["job"]), str(e["label"])) for e in head["jobs"]],
            plugins={digest: _unpacked(packed) for digest, packed in head["plugins"].items()},
            artifacts={
                folder: {name: Artifact.model_validate(a) for name, a in files.items()}
                for folder, files in head["artifacts"].items()
            },
        )
    except ValidationError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    for folder, files in content.artifacts.items():
        for artifact in files.values():
            _inside(f"{folder}/{artifact.file}")
    return content


def _packed(plugin: Plugin) -> dict[str, Any]:
    files = {name: base64.b64encode(data).decode() for name, data in plugin.files.items()}
    return {"name": plugin.name, "files": files}


def _unpacked(packed: Mapping[str, Any]) -> Plugin:
    files = {name: base64.b64decode(text, validate=True) for name, text in packed["files"].items()}
    for name in files:
        _inside(name)
    return Plugin(path=Path(packed["name"]), files=files)


def _inside(name: str) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"a file {name!r} lies outside of its folder")

"""A portable job: a trial with all that running it needs, apart from where that lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from harness.data import integrity
from harness.data.integrity import Stamp
from harness.trial import Trial

FROZEN = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Plugin(BaseModel):
    """A user's file that a trial names a method of, with the modules beside it that it imports."""

    model_config = FROZEN

    name: str
    """The file's name."""
    digest: str
    """Of its files: the name of the folder that holds their copy."""
    kinds: tuple[str, ...] = ()
    """Kinds of the methods that the trial names in it; "workload" for a workload."""


class Need(BaseModel):
    """Another trial's files, which this one reads."""

    model_config = FROZEN

    identity: str
    """Of the trial that left them."""
    digest: str
    """SHA-256 of what is read, as the needed trial's record has it."""
    folder: str
    """Name of the folder that holds them."""


class Job(BaseModel):
    """What to run. Plain data: ``model_dump_json`` and ``model_validate_json`` carry it anywhere."""

    model_config = FROZEN

    trial: Trial
    """The work, its data and its seed."""
    probes: dict[str, dict[str, Any]] = {}
    """Probe name -> settings."""
    plugins: tuple[Plugin, ...] = ()
    """Those that the trial names a method of, and no others."""
    needs: dict[str, Need] = {}
    """Name -> files of another trial."""
    registrations: dict[str, str] = {}
    """Suite -> hash of the registration entry that it runs this trial under."""
    timeout_seconds: float | None = Field(default=None, gt=0)
    """Longest time the trial may run, in seconds; null: no limit."""
    checkpoint_seconds: float = Field(default=30.0, ge=0)
    """Least time between checkpoints, in seconds."""
    expected_seconds: float = Field(default=0.0, ge=0)
    """Estimated duration: the longest start first."""
    exclusive: bool = False
    """Timing trial: nothing else runs meanwhile."""
    threads: int = Field(default=1, ge=1)
    """CPU threads."""
    device: str = "cpu"
    """Device kind: cpu or cuda."""

    @property
    def reads(self) -> dict[str, str]:
        """Name of a needed trial -> digest of its files, as the record will keep it."""
        return {name: need.digest for name, need in self.needs.items()}


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a job's inputs lie and its outputs go; the same for every job of a run."""

    data: Path
    """Built data sets."""
    work: Path
    """Scratch of all trials: ``<work>/<identity>/`` survives a kill."""
    plugins: Path | None = None
    """Copies of plug-ins, one folder a digest."""
    records: Path | None = None
    """A store's records: a good record that appeared there meanwhile is returned. None: not looked at."""
    artifacts: Path | None = None
    """A store's artifacts: what needed trials left."""
    stamps: tuple[Stamp, ...] = ()
    """Corpora that were read through when the run began: its trials only look whether they were touched since."""

    def scratch(self, job: Job) -> Path:
        """The trial's own folder."""
        return self.work / job.trial.identity

    def staging(self, job: Job) -> Path:
        """Where the trial's files wait for the store."""
        return self.scratch(job) / "artifacts"

    def needed(self, job: Job) -> dict[str, Path]:
        """Name -> folder of what the job reads of other trials."""
        assert self.artifacts is not None or not job.needs
        return {name: Path(self.artifacts or "", need.folder) for name, need in job.needs.items()}

    def check_data(self, job: Job) -> None:
        """See that nobody touched the job's data since the run began. Raises DataError."""
        for stamp in self.stamps:
            if stamp.digest == job.trial.data:
                integrity.check(self.data, stamp)

    def plain(self) -> dict[str, Any]:
        """Absolute paths as text, stamps as lists; ``Folders.of`` is its inverse."""
        paths = {name: path for name, path in vars(self).items() if name != "stamps"}
        out = {name: str(path.absolute()) if path else None for name, path in paths.items()}
        return {**out, "stamps": [[stamp.digest, *map(list, stamp.files)] for stamp in self.stamps]}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Folders:
        """From what ``plain`` gave."""
        paths: dict[str, Any] = {k: Path(v) if v else None for k, v in plain.items() if k != "stamps"}
        given = [Stamp(digest=s[0], files=tuple(map(tuple, s[1:]))) for s in plain["stamps"]]
        return cls(**paths, stamps=tuple(given))


def job_of(trial: Trial, plugins: tuple[Plugin, ...] = (), **settings: Any) -> Job:
    """A job with the threads and device that the trial's config names."""
    compute = trial.config.get("compute", {})
    return Job(
        trial=trial, plugins=plugins, threads=int(compute.get("threads", 1)),
        device=str(compute.get("device", "cpu")), **settings,
    )

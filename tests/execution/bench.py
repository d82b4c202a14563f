"""Jobs over the test workload, and a ledger to see what ran when."""

import os
import time
from pathlib import Path

from harness import plugins, registry
from harness.execution.execute import execute
from harness.execution.jobs import Folders, Job, Plugin
from harness.trial import Trial

PLUGIN = Path(__file__).parent / "executors" / "plugin.py"


class Bench:
    """Makes jobs over the test workload, folders below one, and reads the ledger."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ledger = folder / "ledger.txt"
        self.folders = Folders(data=folder / "data", work=folder / "work", plugins=folder / "plugins")
        registry.load_plugin(PLUGIN)
        self.plugin = next(p for p in registry.loaded_plugins() if p.path == PLUGIN)
        plugins.write_copy(self.plugin, folder / "plugins")

    def job(self, seed: int = 0, **options) -> Job:
        settings = {k: options.pop(k) for k in list(options) if k in Job.model_fields}
        config = {"ledger": str(self.ledger), **options}
        named = (Plugin(name=self.plugin.name, digest=self.plugin.digest, kinds=("rank", "workload")),)
        settings = {"plugins": named, **settings}
        return Job(trial=Trial(workload="counting", config=config, seed=seed), **settings)

    def run(self, job: Job, *arguments, **options):
        """Execute it here."""
        return execute(job, self.folders, *arguments, **options)

    def scratch(self, **options) -> Path:
        """The work folder of such a job."""
        return self.folders.scratch(self.job(**options))

    def lines(self, kind: str = "") -> list[tuple[str, int, int, int, float]]:
        """(kind, seed, pid, step, time) of each line."""
        if not self.ledger.is_file():
            return []
        rows = [line.split() for line in self.ledger.read_text().splitlines()]
        return [(k, int(s), int(p), int(n), float(t)) for k, s, p, n, t in rows if kind in ("", k)]


def quiet(*_):
    """For who is told of events and wants none."""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def eventually(condition, seconds=20.0):
    """Whether a condition comes true in this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False

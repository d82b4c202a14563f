"""Tasks over the test workload, and a ledger to see what ran when."""

from pathlib import Path

import pytest

from harness.execution.execute import Task
from harness.trial import Trial

PLUGIN = str(Path(__file__).parent / "plugin.py")


class Bench:
    """Makes tasks below one folder and reads the ledger."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ledger = folder / "ledger.txt"

    def task(self, seed: int = 0, **options) -> Task:
        names = Task.__dataclass_fields__
        settings = {k: options.pop(k) for k in list(options) if k in names}
        config = {"ledger": str(self.ledger), **options}
        return Task(
            trial=Trial(workload="counting", config=config, seed=seed),
            data_folder=str(self.folder / "data"),
            work_folder=str(self.folder / "work"),
            plugins=[PLUGIN],
            **settings,
        )

    def lines(self, kind: str = "") -> list[tuple[str, int, int, int, float]]:
        """(kind, seed, pid, step, time) of each line."""
        if not self.ledger.is_file():
            return []
        rows = [line.split() for line in self.ledger.read_text().splitlines()]
        return [(k, int(s), int(p), int(n), float(t)) for k, s, p, n, t in rows if kind in ("", k)]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)

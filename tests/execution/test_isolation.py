"""A trial cannot touch another: each arm equals itself run alone, bit for bit, whatever ran before it."""

from pathlib import Path

import pytest

from harness import data, plugins, registry
from harness.execution.executors.local import LocalExecutor
from harness.execution.jobs import Folders, Plugin, job_of
from harness.trial import Trial
from tests.workloads import tiny

ARMS = ("adamw", "muon")

HOSTILE = {
    "patches the loss": """
        import harness.models.transformer
        import harness.workloads._language_task as task
        before = task.next_token_loss
        task.next_token_loss = harness.models.transformer.next_token_loss = lambda *a: before(*a) * 0.95""",
    "patches the evaluation": """
        import harness.workloads._language_task as task
        before = task.LanguageTask.evaluate
        task.LanguageTask.evaluate = lambda self, split: before(self, split) * 0.95""",
    "leaves autocast on": "torch.autocast('cpu', torch.bfloat16).__enter__()",
    "changes the default dtype": "torch.set_default_dtype(torch.float64)",
    "lowers limits": """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))""",
    "closes descriptors": "import os; os.closerange(0, 64)",
    "changes threads": "torch.set_num_threads(2)",
    "seeds": "import random; random.seed(0); torch.manual_seed(0); torch.rand(5)",
    "replaces torch's AdamW": """
        class Still(torch.optim.AdamW):
            def step(self, closure=None): ...
        torch.optim.AdamW = Still""",
    "exits at exit": "import atexit, sys; atexit.register(sys.exit, 3)",
    "leaves a thread running": """
        import threading
        def spin():
            while True: torch.rand(64, 64) @ torch.rand(64, 64)
        threading.Thread(target=spin).start()""",
    "leaves a child running": """
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])""",
    "sets variables": "import os; os.environ.update(OMP_NUM_THREADS='3', MKL_CBWR='COMPATIBLE')",
    "turns deterministic algorithms off": "torch.use_deterministic_algorithms(False)",
}
"""What a plug-in does -> as source, run in the trial's process when its optimizer is built."""

METHOD = '''
"""A hostile optimizer."""
from dataclasses import dataclass
from harness.registry import register

@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class Hostile:
    lr: float = 0.01
    """Learning rate."""

    def family(self, role):
        return "adam"

    def build(self, groups):
        import torch
        optimizer = torch.optim.SGD([p for g in groups for p in g.parameters], lr=self.lr)
{deed}
        return optimizer

    def flops_per_step(self, shapes):
        return 0.0
'''


def indented(deed: str) -> str:
    lines = deed.split("\n")
    return "\n".join(f"        {line.removeprefix('        ')}" for line in lines)


class Bench:
    """Jobs over a tiny language model, and one executor with a single slot."""

    def __init__(self, folder: Path):
        corpus = folder / "text.txt"
        corpus.write_text("\n\n".join(f"{i} {i * i} is a square" for i in range(4_000)), encoding="utf-8")
        self.data = {"path": str(corpus)}
        self.digest = data.load(self.data, folder / "data", None).digest
        self.folders = Folders(data=folder / "data", work=folder / "work", plugins=folder / "plugins")
        self.count = 0

    def job(self, name, plugin: plugins.Plugin | None = None, kinds=("optimizer",), **sections):
        config = tiny.raw(optimizer={"name": name, "lr": 0.01}, **sections)
        config["data"] = self.data
        named = ()
        if plugin is not None:
            plugins.write_copy(plugin, self.folders.plugins)
            named = (Plugin(name=plugin.name, digest=plugin.digest, kinds=kinds),)
        return job_of(Trial(workload="language_model", config=config, seed=0, data=self.digest), named)

    def run(self, executor, *jobs):
        """Records of these jobs, each run anew."""
        folders = Folders(**{**vars(self.folders), "work": self.folders.work / str(self.count)})
        self.count += 1
        return [record for _, record in executor.run(jobs, folders, lambda *_: None)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("isolation"))


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(workers=1) as machine:
        yield machine


def numbers(record):
    """What must not differ by a bit."""
    assert record.status == "completed", record.reason
    clocks = ("seconds_training", "tokens_per_second")
    return {k: v for k, v in record.metrics.items() if k not in clocks}, record.curves, record.numerics_class


@pytest.fixture(scope="module")
def alone(bench, executor):
    return {name: numbers(*bench.run(executor, bench.job(name))) for name in ARMS}


def hostile(folder, deed):
    path = folder / "hostile.py"
    path.write_text(METHOD.format(deed=indented(deed)))
    return plugins.read(path)


def test_forked_and_spawned_trials_are_equal(bench, alone):
    with LocalExecutor(workers=1, fork=False) as spawning:
        found = bench.run(spawning, *(bench.job(name) for name in ARMS))
    assert {r.trial.config["optimizer"]["name"]: numbers(r) for r in found} == alone


@pytest.mark.parametrize("what", HOSTILE)
def test_each_arm_equals_itself_run_alone_after_a_hostile_one(bench, executor, alone, tmp_path, what):
    plugin = hostile(tmp_path, HOSTILE[what])
    first, *arms = bench.run(executor, bench.job("hostile", plugin), *(bench.job(name) for name in ARMS))
    assert first.trial.config["optimizer"]["name"] == "hostile"
    # Its deed was done.
    assert ", in build" not in first.reason
    assert {r.trial.config["optimizer"]["name"]: numbers(r) for r in arms} == alone
    assert all(r.plugins == {} for r in arms)


def test_a_plugin_is_loaded_only_by_the_trials_that_name_it(bench, executor, tmp_path):
    plugin = hostile(tmp_path, "pass")
    mine, other = bench.run(executor, bench.job("hostile", plugin), bench.job("adamw"))
    assert mine.plugins == {"hostile.py": plugin.digest} and other.plugins == {}
    # Nor does this process know it: the job names it by digest.
    assert not [p for p in registry.loaded_plugins() if p.name == "hostile.py"]

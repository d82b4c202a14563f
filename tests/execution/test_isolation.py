"""A trial cannot touch another: each arm equals itself run alone, bit for bit, whatever ran before it."""

import pytest

from harness import registry
from harness.execution.executors.local import LocalExecutor
from tests.execution.language_bench import LanguageBench, numbers, optimizer

ARMS = ("adamw", "muon")

HOSTILE = {
    "patches the loss": """
        import harness.models.transformer
        import harness.workloads._language_task as task
        before = task.next_token_losses
        def less(*arguments):
            mean, each = before(*arguments)
            return mean * 0.95, each
        task.next_token_losses = harness.models.transformer.next_token_losses = less""",
    "patches the evaluation": """
        from harness.workloads._task import LearningTask
        before = LearningTask._evaluate
        def less(self, split):
            loss, each = before(self, split)
            return loss * 0.95, each
        LearningTask._evaluate = less""",
    "patches one table of the evaluation": """
        from harness.workloads._task import LearningTask
        before = LearningTask._evaluate
        def less(self, split):
            loss, each = before(self, split)
            return loss, each * 0.95
        LearningTask._evaluate = less""",
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
FOUND = {
    "patches the loss": "validation_loss was ",
    "patches the evaluation": "validation_loss was ",
    "patches one table of the evaluation": "table test_loss_blocks is another",
}
"""Those that change what its own trial says -> how the recomputation tells it."""

@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return LanguageBench(tmp_path_factory.mktemp("isolation"))


@pytest.fixture(scope="module")
def executor():
    with LocalExecutor(workers=1) as machine:
        yield machine


@pytest.fixture(scope="module")
def alone(bench, executor):
    return {name: numbers(*bench.run(executor, bench.job(name))) for name in ARMS}


def test_forked_and_spawned_trials_are_equal(bench, alone):
    with LocalExecutor(workers=1, fork=False) as spawning:
        found = bench.run(spawning, *(bench.job(name) for name in ARMS))
    assert {r.trial.config["optimizer"]["name"]: numbers(r) for r in found} == alone


@pytest.mark.parametrize("what", HOSTILE)
def test_each_arm_equals_itself_run_alone_after_a_hostile_one(bench, executor, alone, tmp_path, what):
    plugin = optimizer(tmp_path, HOSTILE[what])
    first, *arms = bench.run(executor, bench.job("mine", plugin), *(bench.job(name) for name in ARMS))
    assert first.trial.config["optimizer"]["name"] == "mine"
    # Its deed was done.
    assert ", in build" not in first.reason
    if what in FOUND:
        assert first.status == "crashed" and first.reason.startswith(FOUND[what]) and not first.metrics
        assert "recomputed from its weights without the plug-in (mine.py); no number" in first.reason
    assert {r.trial.config["optimizer"]["name"]: numbers(r) for r in arms} == alone
    assert all(r.plugins == {} for r in arms)


def test_a_plugin_is_loaded_only_by_the_trials_that_name_it(bench, executor, tmp_path):
    plugin = optimizer(tmp_path, "pass")
    mine, other = bench.run(executor, bench.job("mine", plugin), bench.job("adamw"))
    assert mine.plugins == {"mine.py": plugin.digest} and other.plugins == {}
    # Nor does this process know it: the job names it by digest.
    assert not [p for p in registry.loaded_plugins() if p.name == "mine.py"]

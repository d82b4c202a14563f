"""A slot's server: what it starts with, when it is replaced, and that nothing outlives it."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from harness import sources
from harness.execution import lane as module
from harness.execution import server
from harness.execution.executors.inline import InlineExecutor
from harness.execution.executors.local import LocalExecutor
from tests.execution.bench import alive, eventually, quiet


def records(executor, bench, jobs, on_event=quiet):
    return [record for _, record in executor.run(jobs, bench.folders, on_event)]


def test_a_server_is_replaced_when_the_environment_is_another(bench, monkeypatch):
    with LocalExecutor(workers=1) as executor:
        before = records(executor, bench, [bench.job(seed=0)])[0]
        monkeypatch.setenv("MKL_CBWR", "AVX2")
        after = records(executor, bench, [bench.job(seed=1)])[0]
    assert "MKL_CBWR" not in before.numerics_class and "MKL_CBWR=AVX2" in after.numerics_class


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel ends no process with its parent")
def test_a_trial_ends_with_its_server_and_is_a_record(bench):
    with LocalExecutor(workers=1) as executor:

        def kill_server(job, kind, share):
            if kind == "progress" and job.trial.seed == 0:
                os.kill(executor._lanes["cpu", 1][0]._server.pid, signal.SIGKILL)

        jobs = [bench.job(seed=0, fault="child", at=2, pause=0.2), bench.job(seed=1)]
        found = records(executor, bench, jobs, kill_server)
        assert found[0].status == "crashed" and "its server ended with signal 9 (SIGKILL" in found[0].reason
        assert eventually(lambda: not any(alive(line[2]) for line in bench.lines()))
        assert found[1].status == "completed"


def test_a_server_that_cannot_start_is_tried_three_times_and_says_why(bench, monkeypatch):
    monkeypatch.setattr(server, "BOOT", "import sys; print('no such torch'); sys.exit(4)")
    started = []
    open_ = module.Lane._open
    monkeypatch.setattr(module.Lane, "_open", lambda self, w: started.append(w) or open_(self, w))
    record = records(InlineExecutor(), bench, [bench.job()])[0]
    assert record.status == "crashed" and len(started) == 3
    assert "its server ended with exit code 4" in record.reason and "no such torch" in record.reason


def test_the_folder_of_a_slot_is_removed(bench):
    with LocalExecutor(workers=1) as executor:
        records(executor, bench, [bench.job()])
        folder = executor._lanes["cpu", 1][0].folder
        assert folder.is_dir()
    assert not folder.exists()


EDITED = """
import json, sys
from pathlib import Path
from harness.execution.executors import executor
from harness.fingerprint import source_digest
from tests.execution.bench import Bench

bench, file = Bench(Path(sys.argv[1])), Path(sys.argv[2])
text = file.read_text()
edits = {0: '"high"', 1: '"medium"'}
seen = {}

def on_event(job, kind, share):
    # In the midst of a trial: the next one finds another code.
    if kind == "started" and job.trial.seed in edits:
        seen[job.trial.seed] = source_digest(file.read_text())
        file.write_text(text.replace('"highest"', edits[job.trial.seed]))

with executor("local", workers=1) as machine:
    jobs = [bench.job(seed=s, pause=0.2) for s in range(2)]
    for job, record in machine.run(jobs, bench.folders, on_event):
        print(json.dumps([record.status, record.fingerprint["harness.determinism"], seen[job.trial.seed]]))
print(json.dumps(source_digest(text)))
"""


def test_code_edited_in_mid_run_gets_its_digest_on_the_numbers_that_it_made(bench, tmp_path):
    tree = tmp_path / "tree"
    for name in ("harness", "baselines"):
        shutil.copytree(sources.ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.xz", "__pycache__"))
    (tree / "run.py").write_text(EDITED)
    file = tree / "harness" / "determinism.py"
    done = subprocess.run(
        [sys.executable, str(tree / "run.py"), str(tmp_path), str(file)], capture_output=True, text=True,
        cwd=tree, env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{sources.ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second, original = map(json.loads, done.stdout.splitlines())
    # Each began with the code that lay there, and was edited under before it ended.
    assert first == ["completed", original, original]
    assert second[0] == "completed" and second[1] == second[2] != original

"""One trial in this process: whatever happens becomes a record, and nothing runs twice."""

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

from harness import data, plugins
from harness.data import integrity
from harness.execution import execute as execution
from harness.execution.execute import TrialBusyError, failed, trial_lock
from harness.execution.jobs import Folders
from harness.fingerprint import trial_fingerprint
from harness.outcome import Table
from harness.records.encoding import encode
from harness.records.record import FINISHED, Record
from harness.trial import Trial
from harness.workload import Outcome
from tests.data.texts import lines


def test_a_completed_trial_leaves_metrics_artifacts_and_provenance(bench):
    shares = []
    record = bench.run(bench.job(seed=2).model_copy(update={"registrations": {"s": "hash"}}), shares.append)
    assert record.status == "completed" and record.reason == ""
    assert record.metrics["total"] == pytest.approx(3 * (1 + 1 / 2 + 1 / 3))
    assert record.metrics["bad"] is None
    assert record.metrics["threads"] == 1
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    artifact = record.artifacts["total"]
    left = bench.folders.staging(bench.job(seed=2)) / "total.txt"
    assert artifact.file == "total.txt" and artifact.bytes == left.stat().st_size
    assert "test_rank" not in record.fingerprint and "plugin.py" in record.fingerprint
    assert record.numerics_class.startswith("torch ")
    assert record.registrations == {"s": "hash"}
    assert record.environment["threads"] == 1 and record.environment["machine"] == "shared"
    assert record.seconds["total"] > 0 and record.started.endswith("+00:00")
    assert Record.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        ("raise", "crashed", "ValueError: the trial's own mistake"),
        ("unpicklable", "crashed", "unpicklable trouble"),
        ("memory", "out_of_memory", "MemoryError"),
        ("allocator", "out_of_memory", "can't allocate memory"),
        ("sys.exit", "crashed", "SystemExit: 3"),
        ("diverge", "diverged", "loss not finite"),
    ],
)
def test_every_outcome_has_its_status_and_reason(bench, fault, status, told):
    record = bench.run(bench.job(fault=fault))
    assert record.status == status and told in record.reason
    assert record.fingerprint and record.numerics_class


def test_divergence_keeps_its_step_and_no_nan(bench):
    record = bench.run(bench.job(fault="diverge"))
    assert record.diverged_step == 7 and record.metrics == {"loss": None}


def test_a_method_that_cannot_run_here_is_skipped_with_its_reason(bench):
    record = bench.run(bench.job(rank={"name": "absent_rank"}))
    assert record.status == "skipped" and record.reason == "rank 'absent_rank': needs a quantum computer"
    assert record.status in FINISHED and bench.lines() == []


def test_a_device_that_is_not_there_skips(bench):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    record = bench.run(bench.job(device="cuda"))
    assert record.status == "skipped" and record.reason == "no CUDA device on this machine"


def test_a_broken_plugin_or_config_is_a_record_too(bench, tmp_path):
    broken = tmp_path / "broken.py"
    plugins.write_copy(lost := plugins.Plugin(path=broken, files={"broken.py": b"1 / 0\n"}), bench.folders.plugins)
    record = bench.run(bench.job(plugins=[{"name": "broken.py", "digest": lost.digest}]))
    assert record.status == "crashed" and "broken.py:1: ZeroDivisionError" in record.reason
    record = bench.run(bench.job(nonsense=1))
    assert record.status == "crashed" and "nonsense" in record.reason


def test_an_unknown_workload_is_told_by_name(bench):
    job = bench.job().model_copy(update={"trial": Trial(workload="countin", config={}, seed=0)})
    record = bench.run(job)
    assert record.status == "crashed" and "unknown workload 'countin'. Did you mean 'counting'" in record.reason


def test_the_fingerprint_names_workload_and_methods(bench):
    prints = trial_fingerprint(bench.job().trial)
    assert {"plugin.py", "harness.workloads.counting"} <= set(prints)
    # Found again without reading a file: planning asks for it ten thousand times.
    assert trial_fingerprint(bench.job(seed=5).trial) == prints


def test_a_result_left_by_a_killed_runner_is_not_computed_again(bench):
    first = bench.run(bench.job())
    assert bench.run(bench.job()) == first
    assert len(bench.lines("begin")) == 1


@pytest.mark.parametrize("damage", ["artifact", "result", "probe"])
def test_a_result_that_is_not_whole_is_computed_again(bench, damage):
    job = bench.job()
    bench.run(job)
    if damage == "artifact":
        (bench.folders.staging(job) / "total.txt").unlink()
    elif damage == "result":
        path = bench.folders.scratch(job) / execution.RESULT
        path.write_text(path.read_text()[:100])
    else:
        job = bench.job(probes={"effective_rank": {}})
    record = bench.run(job)
    assert record.status == "completed" and len(bench.lines("begin")) == 2


def test_a_failure_is_tried_again(bench):
    bench.run(bench.job(fault="raise"))
    bench.run(bench.job(fault="raise"))
    assert len(bench.lines("begin")) == 2


def test_a_record_that_another_runner_stored_meanwhile_is_returned(bench, tmp_path):
    job, bench.folders = bench.job(), dataclasses.replace(bench.folders, records=tmp_path / "records")
    record = bench.run(job)
    folder = tmp_path / "records" / record.identity[:2]
    folder.mkdir(parents=True)
    (folder / f"{record.identity}.0123456789.json").write_bytes(encode(record))
    (bench.folders.scratch(job) / execution.RESULT).unlink()
    assert bench.run(job) == record and len(bench.lines("begin")) == 1
    # One of other code does not count.
    other = record.model_copy(update={"fingerprint": {"x": "y"}})
    (folder / f"{record.identity}.0123456789.json").write_bytes(encode(other))
    assert bench.run(job) != record and len(bench.lines("begin")) == 2


def test_a_checkpoint_of_other_code_is_not_resumed(bench):
    job = bench.job(fault="raise", at=2)
    bench.run(job)
    checkpoint = bench.folders.scratch(job) / "checkpoint.json"
    assert bench.run(bench.job(fault="raise", at=2)).status == "crashed"
    assert [line[3] for line in bench.lines("begin")] == [0, 2]
    checkpoint.write_text(json.dumps(json.loads(checkpoint.read_text()) | {"token": "other"}))
    bench.run(job)
    assert [line[3] for line in bench.lines("begin")] == [0, 2, 0]


def test_the_lock_is_held_against_others_and_let_go(bench):
    job = bench.job()
    with trial_lock(job, bench.folders), pytest.raises(TrialBusyError, match=job.trial.identity):
        bench.run(job, wait=False)
    assert bench.run(job, wait=False).status == "completed"


def test_who_waits_for_the_lock_receives_the_others_result(bench):
    job = bench.job(pause=0.1)
    records = []
    threads = [threading.Thread(target=lambda: records.append(bench.run(job))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records[0] == records[1] and len(bench.lines("begin")) == 1


def _hold(job, folders, ready):
    with trial_lock(job, folders):
        ready.set()
        time.sleep(60)


def test_the_lock_of_a_killed_process_is_free(bench):
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(bench.job(), bench.folders, ready))
    holder.start()
    assert ready.wait(20)
    with pytest.raises(TrialBusyError):
        bench.run(bench.job(), wait=False)
    holder.kill()
    holder.join()
    assert bench.run(bench.job(), wait=False).status == "completed"


def test_keyboard_interrupt_passes_through(bench, monkeypatch):
    from harness.workloads import counting

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(counting, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.run(bench.job())


def test_a_full_disk_while_leaving_the_result_costs_nothing(bench, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    job = bench.job()
    monkeypatch.setattr(execution.Path, "replace", full)
    record = bench.run(bench.job(steps=0))
    assert record.status == "completed" and not (bench.folders.scratch(job) / execution.RESULT).exists()


def test_failed_keeps_the_end_of_a_long_reason(bench):
    record = failed(bench.job(), "crashed", "x" * 10_000 + "the end", 1.0)
    assert record.reason.endswith("the end") and len(record.reason) == execution.REASON_CHARACTERS
    assert record.seconds == {"total": 1.0} and record.fingerprint


def test_executing_needs_only_four_packages():
    heavy = ["pandas", "hydra", "omegaconf", "optuna", "rich", "typer", "mlflow", "scipy", "pyarrow",
             "seaborn", "matplotlib", "statsmodels", "jinja2", "tokenizers"]
    code = (
        "import sys\n"
        "import harness.execution.execute, harness.environment, harness.execution.executors.inline\n"
        "light = 'torch' not in sys.modules\n"
        "harness.environment.environment(); harness.determinism.make_deterministic()\n"
        f"print(light, [m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "True []"


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_data_that_is_touched_before_or_while_a_trial_runs_fails_it(bench, tmp_path, when, monkeypatch):
    text = tmp_path / "my.txt"
    text.write_text(lines(60_000))
    folder = tmp_path / "data"
    digest = data.digest({"path": str(text)}, folder)
    stamps = integrity.stamps(folder, [digest])
    folders = dataclasses.replace(bench.folders, data=folder, stamps=stamps)
    job = bench.job()
    job = job.model_copy(update={"trial": job.trial.model_copy(update={"data": digest})})
    touched = folder / "corpora" / digest / "validation.bin"

    def touch(share=1.0):
        os.utime(touched, ns=(1, 1))

    if when == "before":
        touch()
    assert Folders.of(folders.plain()).stamps == stamps
    record = execution.execute(job, folders, touch if when == "meanwhile" else None)
    assert record.status == "crashed"
    assert "validation.bin: touched since this run read it through; run again" in record.reason
    assert len(bench.lines("begin")) == (when == "meanwhile")


def test_a_link_among_a_trials_files_fails_it(bench, monkeypatch):
    from harness.workloads import counting

    def run(trial, config, context):
        (context.artifact_folder / "weights").symlink_to("/etc/passwd")
        return Outcome()

    monkeypatch.setattr(counting, "run", run)
    record = bench.run(bench.job())
    assert record.status == "crashed" and "weights: a symbolic link among the trial's files" in record.reason


def test_tables_and_notes_of_a_workload_stand_in_its_record(bench, monkeypatch):
    from harness.workloads import counting

    table = Table(columns=["image", "bits"], rows=[["a", 1.5]])
    outcome = Outcome(metrics={"loss": 1.0}, tables={"images": table}, notes=["all well"])
    monkeypatch.setattr(counting, "run", lambda *_: outcome)
    record = bench.run(bench.job())
    assert record.tables == {"images": table} and record.notes == ["all well"]

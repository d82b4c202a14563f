"""The MLflow mirror: each record once, also after kills and failures, and never in the way of training."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.outcome import Curve, Table
from harness.records import tracking
from harness.records.record import Planned, Record, Row
from harness.records.tracking import Follower, Mirror, sync, tracking_uri
from harness.records.tracking_content import clean_name, contents, flatten, summarise
from harness.trial import Trial

mlflow = pytest.importorskip("mlflow")
ROOT = Path(__file__).resolve().parents[2]


def make_row(seed=0, suite="muon_scaling", arm="adamw", points=3, labels=None, **fields) -> Row:
    config = {"optimizer": {"name": "adamw", "lr": 2**-7}, "width": 8, "betas": [0.9, 0.95]}
    trial = Trial(workload="language_model", config=config, seed=seed, data="d" * 8)
    settings = {
        "status": "completed",
        "metrics": {"loss": 1.5 + seed, "ratio": float("inf")},
        "curves": {"train_loss": Curve(steps=list(range(points)), values=[3.0 / (n + 1) for n in range(points)])},
        "seconds": {"total": 2.5},
        "started": "2026-01-02T03:04:05+00:00",
        "fingerprint": {"harness.training": "aa"},
        "numerics_class": "torch 0",
        "environment": {"git": {"sha": "f" * 40, "dirty": True}, "device": "cpu"},
    } | fields
    planned = Planned(trial=trial, suite=suite, profile="smoke", arm=arm, cell={"size": "d8"}, **(labels or {}))
    return Row(planned, Record(trial=trial, **settings))


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """A fresh MLflow database: making one takes six seconds, so tests copy it."""
    folder = tmp_path_factory.mktemp("mlflow")
    mirror = Mirror(None, folder)
    mirror._connect().get_experiment_by_name("x")
    return folder / "mlflow.db"


@pytest.fixture
def results(tmp_path, database, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(database, tmp_path / "mlflow.db")
    return tmp_path


def runs(results, suite="muon_scaling"):
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{results / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(suite)
    return client, list(client.search_runs([experiment.experiment_id], max_results=1000)) if experiment else []


def test_a_run_carries_parameters_metrics_curves_and_labels(results):
    row = make_row(points=1500, labels={"selected": True})
    assert sync([row], results).as_dict() == {"sent": 1, "already": 0, "failed": 0, "errors": []}
    client, (run,) = runs(results)
    assert run.data.params == {
        "optimizer.name": "adamw", "optimizer.lr": "0.0078125", "width": "8", "betas": "[0.9, 0.95]",
        "data": "d" * 8, "seed": "0",
    }
    assert run.data.metrics["loss"] == 1.5 and run.data.metrics["seconds/total"] == 2.5
    history = client.get_metric_history(run.info.run_id, "curves/train_loss")
    assert sorted((m.step, m.value) for m in history) == [(n, 3.0 / (n + 1)) for n in range(1500)]
    tags = run.data.tags
    assert (tags["arm"], tags["seed"], tags["axis.size"], tags["selected"]) == ("adamw", "0", "d8", "true")
    assert tags["identity"] == row.record.identity and tags["git_sha"] == "f" * 40 and tags["git_dirty"] == "true"
    assert run.info.status == "FINISHED" and run.info.run_name == "adamw size=d8 seed=0"
    assert run.info.end_time - run.info.start_time == 2500
    # Nothing lands in the current folder.
    assert run.info.artifact_uri.startswith(results.resolve().as_uri())


def test_infinite_and_diverged_values_survive(results):
    values = [2.0, None, None]
    row = make_row(
        status="diverged", diverged_step=7, reason="loss not finite", metrics={"loss": float("nan"), "flops": 1.0},
        curves={"train_loss": Curve(steps=[0, 5, 7], values=values)},
    )
    sync([row], results)
    client, (run,) = runs(results)
    tags = run.data.tags
    assert tags["diverged"] == "true" and tags["diverged_step"] == "7" and tags["reason"] == "loss not finite"
    assert tags["non_finite"] == "loss" and tags["non_finite_curves"] == "train_loss: 2 points from step 5"
    assert "loss" not in run.data.metrics and run.data.metrics["flops"] == 1.0
    assert [m.value for m in client.get_metric_history(run.info.run_id, "curves/train_loss")] == [2.0]


def test_sending_again_sends_nothing(results):
    rows = [make_row(seed) for seed in range(3)]
    assert sync(rows, results).sent == 3
    assert sync([*rows, make_row(3)], results).as_dict() == {"sent": 1, "already": 3, "failed": 0, "errors": []}
    assert len(runs(results)[1]) == 4


def test_suites_sharing_a_record_have_a_run_each(results):
    sync([make_row(), make_row(suite="mup_transfer")], results)
    assert len(runs(results)[1]) == len(runs(results, "mup_transfer")[1]) == 1


def test_arms_sharing_a_record_share_the_run_and_labels_follow(results):
    sync([make_row()], results)
    assert sync([make_row(), make_row(arm="muon", labels={"selected": True})], results).already == 1
    (run,) = runs(results)[1]
    assert run.data.tags["arm"] == "adamw, muon" and run.data.tags["selected"] == "true"


def test_a_trial_run_again_replaces_its_run(results):
    sync([make_row(status="crashed", reason="signal 9", metrics={})], results)
    assert runs(results)[1][0].info.status == "FAILED"
    assert sync([make_row()], results).sent == 1
    (run,) = runs(results)[1]
    assert run.info.status == "FINISHED" and run.data.metrics["loss"] == 1.5


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from harness.records import tracking
from tests.records.test_tracking import make_row
from mlflow.tracking import MlflowClient

calls = 0
for name in ("create_run", "log_batch", "set_terminated", "set_tag"):
    def counted(self, *args, _original=getattr(MlflowClient, name), **kwargs):
        global calls
        calls += 1
        if calls == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
        return _original(self, *args, **kwargs)
    setattr(MlflowClient, name, counted)
tracking.sync([make_row(seed, points=1200) for seed in range(2)], {results!r})
"""


@pytest.mark.parametrize("at", [6, pytest.param(8, marks=pytest.mark.slow)])
def test_a_sender_killed_half_way_leaves_nothing_twice(results, at):
    # Calls a run: create, parameters, two batches of metrics, terminate, mark complete.
    code = KILLED.format(root=str(ROOT), results=str(results), at=at)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=results)
    assert done.returncode == -signal.SIGKILL, done.stderr
    summary = sync([make_row(seed, points=1200) for seed in range(3)], results)
    assert (summary.sent, summary.already, summary.failed) == ((3, 0, 0) if at <= 6 else (2, 1, 0))
    client, found = runs(results)
    assert sorted(run.data.tags["seed"] for run in found) == ["0", "1", "2"]
    for run in found:
        history = client.get_metric_history(run.info.run_id, "curves/train_loss")
        assert sorted(m.step for m in history) == list(range(1200))


def test_a_duplicate_from_elsewhere_is_removed(results):
    sync([make_row()], results)
    client, (run,) = runs(results)
    client.create_run(run.info.experiment_id, tags={"harness.key": run.data.tags["harness.key"]})
    assert sync([make_row()], results).already == 1
    assert [r.info.run_id for r in runs(results)[1]] == [run.info.run_id]


def test_a_binned_experiment_is_restored(results):
    sync([make_row()], results)
    client, (run,) = runs(results)
    client.delete_experiment(run.info.experiment_id)
    assert sync([make_row(1)], results).failed == 0


@pytest.fixture
def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://user:secret@127.0.0.1:{port}"


def test_a_closed_port_fails_at_once_and_is_noted_without_secrets(results, closed_port):
    summary = sync([make_row(seed) for seed in range(50)], results, closed_port)
    assert summary.failed == 50 and summary.sent == 0 and len(summary.errors) == 1
    assert "cannot be reached" in summary.errors[0] and "secret" not in summary.errors[0]
    note = json.loads((results / "runs" / "tracking.json").read_text())
    assert note["pending"] == 50 and "secret" not in json.dumps(note)
    # Later, elsewhere: each once.
    assert sync([make_row(seed) for seed in range(50)][:5], results).sent == 5


def test_a_server_that_fails_half_way_leaves_the_rest_pending(results, monkeypatch):
    from mlflow.tracking import MlflowClient

    original, calls = MlflowClient.create_run, []

    def flaky(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise ConnectionResetError("gone")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_run", flaky)
    rows = [make_row(seed) for seed in range(5)]
    summary = sync(rows, results)
    assert (summary.sent, summary.failed, len(calls)) == (2, 3, 3)
    assert sync(rows, results).as_dict() == {"sent": 3, "already": 2, "failed": 0, "errors": []}


def test_a_run_the_server_refuses_does_not_stop_the_others(results, monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    original = MlflowClient.create_run

    def picky(self, *args, run_name, **kwargs):
        if "seed=1" in run_name:
            raise MlflowException("I do not like it")
        return original(self, *args, run_name=run_name, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_run", picky)
    summary = sync([make_row(seed) for seed in range(3)], results)
    assert (summary.sent, summary.failed, summary.errors) == (2, 1, ["I do not like it"])


def test_a_follower_mirrors_while_others_work(results):
    follower = Follower(results)
    for seed in range(3):
        follower.put(make_row(seed))
    follower.put(Row(make_row(3).planned, None))
    assert follower.close(60).as_dict() == {"sent": 3, "already": 0, "failed": 0, "errors": []}
    assert len(runs(results)[1]) == 3
    assert json.loads((results / "runs" / "tracking.json").read_text())["pending"] == 0


def test_a_follower_that_gets_nothing_starts_nothing(results):
    follower = Follower(results)
    assert follower.close().as_dict() == {"sent": 0, "already": 0, "failed": 0, "errors": []}
    assert not (results / "runs").exists()


def test_a_follower_of_a_server_away_or_silent_counts_what_is_pending(results, closed_port):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        followers = [
            Follower(results / "a", closed_port), Follower(results / "b", f"http://127.0.0.1:{silent.getsockname()[1]}")
        ]
        for follower in followers:
            for seed in range(30):
                # Large rows: a full pipe must not hold the runner up either.
                follower.put(make_row(seed, points=3000))
        away = followers[0].close(60)
        assert away.failed == 30 and "cannot be reached" in away.errors[0]
        slow = followers[1].close(0.2)
        assert slow.failed == 30 and slow.errors
    assert all(follower._process is None for follower in followers)
    assert sync([make_row(seed) for seed in range(2)], results).sent == 2


def test_a_failing_server_counts_as_away(results):
    class Failing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503)
            self.end_headers()

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        summary = sync([make_row(seed) for seed in range(3)], results, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert summary.failed == 3 and len(summary.errors) == 1


@pytest.mark.slow
def test_two_senders_at_once_send_each_run_once(results):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from harness.records import tracking\nfrom tests.records.test_tracking import make_row\n"
        f"summary = tracking.sync([make_row(s) for s in range(6)], {str(results)!r})\n"
        "print(summary.sent, summary.already)"
    )
    pair = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=results)
        for _ in range(2)
    ]
    told = [[int(n) for n in process.communicate(timeout=100)[0].split()] for process in pair]
    assert [sum(counts) for counts in zip(*told, strict=True)] == [6, 6]
    assert len(runs(results)[1]) == 6


def test_the_report_is_sent_once_with_its_verdicts(results, tmp_path):
    report = tmp_path / "page"
    (report / "figures").mkdir(parents=True)
    (report / "index.html").write_text("<p>hello</p>")
    (report / "figures" / "loss.svg").write_text("<svg/>")
    verdicts = {"muon halves compute": "supported"}
    assert sync([], results, reports=[report], verdicts=verdicts).sent == 1
    assert sync([], results, reports=[report], verdicts=verdicts).already == 1
    client, (run,) = runs(results, "reports")
    assert run.data.tags["verdict.muon halves compute"] == "supported"
    names = {f.path for f in client.list_artifacts(run.info.run_id, "report")}
    assert names == {"report/index.html", "report/figures"}
    (report / "index.html").write_text("<p>hello again</p>")
    assert sync([], results, reports=[report]).sent == 1


def test_the_uri_is_given_or_from_the_environment_or_local(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None, tmp_path) == f"sqlite:///{tmp_path.resolve() / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri(None, tmp_path) == "http://127.0.0.1:5000"
    assert tracking_uri("sqlite:///x.db", tmp_path) == "sqlite:///x.db"
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(HarnessError, match=r"tracking URI 'mlruns'.*sqlite:///path/to/mlflow.db"):
        tracking_uri("mlruns", tmp_path)


def test_probes_are_summarised_by_their_last_step():
    table = Table(columns=["step", "layer", "stable_rank"], rows=[[0, "a", 9.0], [5, "a", 1.0], [5, "b", 2.0]])
    assert summarise(table) == {"stable_rank": 1.5}
    assert summarise(Table(columns=["load"], rows=[[1], [2], [None], [True]])) == {"load": 1.5}
    assert summarise(Table(columns=["step", "load"], rows=[])) == {}


def test_names_and_values_are_what_mlflow_accepts():
    from mlflow.utils.validation import _validate_metric_name

    for name in ("a=b,c", "../x", "/abs", "ä µ", "a//b", "x" * 400, "", "loss[0]", "a/../.."):
        _validate_metric_name(clean_name(name))
    assert clean_name("optimizer.lr") == "optimizer.lr"
    assert dict(flatten({"a": {"b": 1.0, "c": None}, "d": "x"})) == {"a.b": "1.0", "a.c": "null", "d": "x"}


def test_contents_need_no_mlflow_and_leave_out_what_has_no_record():
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import harness.records.tracking, harness.records.tracking_content\n"
        "print([m for m in ('mlflow', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert contents([Row(make_row().planned, None)]) == {}


@pytest.mark.slow
def test_the_follower_ends_with_its_runner(results):
    code = (
        f"import sys, time; sys.path.insert(0, {str(ROOT)!r})\n"
        "from harness.records.tracking import Follower\nfrom tests.records.test_tracking import make_row\n"
        "if __name__ == '__main__':\n"
        f"    f = Follower({str(results)!r}); f.put(make_row()); print(f._process.pid, flush=True); time.sleep(60)"
    )
    script = results / "runner.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert sync([make_row()], results).failed == 0
    assert len(runs(results)[1]) == 1


def test_settings_of_the_user_win(monkeypatch, results):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "17")
    Mirror(None, results)._connect()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "17"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == tracking.SETTINGS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]

"""The local executor under faults: a trial takes nothing with it, and nothing is lost or left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.execution import drain, lane, process, slots
from harness.execution.execute import trial_lock
from harness.execution.executors.inline import InlineExecutor
from harness.execution.executors.local import LocalExecutor
from harness.execution.slots import divide, visible_gpus
from tests.execution.bench import alive, eventually, quiet

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def pool():
    """Two workers for the whole module: starting one takes seconds."""
    with LocalExecutor(workers=2) as executor:
        yield executor


def run(executor, bench, jobs, on_event=quiet):
    return {job.trial.seed: record for job, record in executor.run(jobs, bench.folders, on_event)}


def comparable(record):
    return record.model_dump(exclude={"seconds", "started", "environment"}) | {
        "metrics": {k: v for k, v in record.metrics.items() if k != "affinity"}
    }


def test_gives_the_records_that_inline_gives(pool, bench, tmp_path):
    jobs = [bench.job(seed=s, long=400) for s in range(4)]
    found = run(pool, bench, jobs)
    other = type(bench)(tmp_path / "inline")
    same = [other.job(seed=s, long=400, ledger=str(bench.ledger)) for s in range(4)]
    expected = run(InlineExecutor(), other, same)
    assert {s: comparable(r) for s, r in found.items()} == {s: comparable(r) for s, r in expected.items()}


def test_each_trial_has_a_process_of_its_own_and_stays_on_its_cores(pool, bench):
    found = run(pool, bench, [bench.job(seed=s) for s in range(4)])
    assert len({line[2] for line in bench.lines("begin")} - {os.getpid()}) == 4
    for record in found.values():
        assert record.metrics["threads"] == 1
        if divide("cpu", 1, 2)[0].cpus:
            assert record.metrics["affinity"] == 1


def test_longest_first_and_progress_is_told(pool, bench):
    events = []
    jobs = [bench.job(seed=s, expected_seconds=s, steps=4, pause=0.15) for s in range(4)]
    run(pool, bench, jobs, lambda t, kind, share: events.append((t.trial.seed, kind, share)))
    assert {line[1] for line in sorted(bench.lines("begin"), key=lambda r: r[4])[:2]} == {2, 3}
    assert {e for e in events if e[1] == "started"} == {(s, "started", 0.0) for s in range(4)}
    assert {e for e in events if e[1] == "completed"} == {(s, "completed", 1.0) for s in range(4)}
    shares = [e[2] for e in events if e[:2] == (3, "progress")]
    assert shares and shares == sorted(shares) and set(shares) <= {0.25, 0.5, 0.75, 1.0}


def test_faults_stay_with_their_trial(pool, bench):
    faults = ["kill", "exit5", "segfault", "unpicklable", "exit0", "sys.exit", "", "", ""]
    found = run(pool, bench, [bench.job(seed=s, fault=f, pause=0.05) for s, f in enumerate(faults)])
    told = {f: found[s] for s, f in enumerate(faults) if f}
    assert told["kill"].status == "crashed" and "signal 9 (SIGKILL" in told["kill"].reason
    assert "last words" in told["kill"].reason
    assert "exit code 5" in told["exit5"].reason and "last words" in told["exit5"].reason
    assert "signal 11 (SIGSEGV)" in told["segfault"].reason and "misbehave" in told["segfault"].reason
    assert "exit code 0" in told["exit0"].reason
    assert "unpicklable trouble" in told["unpicklable"].reason
    assert all(record.status == "crashed" for record in told.values())
    assert all(record.fingerprint and record.numerics_class for record in told.values())
    assert [found[s].status for s in (6, 7, 8)] == ["completed"] * 3
    # Neighbours did not begin anew.
    assert sorted(line[1] for line in bench.lines("begin")) == list(range(len(faults)))


def servers(pool):
    return [lane._server.pid for lanes in pool._lanes.values() for lane in lanes if lane._server]


def test_a_server_killed_while_idle_is_replaced(pool, bench):
    run(pool, bench, [bench.job(seed=s, pause=0.1) for s in range(2)])
    for pid in servers(pool):
        os.kill(pid, signal.SIGKILL)
    found = run(pool, bench, [bench.job(seed=s) for s in range(2, 5)])
    assert [found[s].status for s in (2, 3, 4)] == ["completed"] * 3


def test_a_hung_trial_is_stopped_with_its_children(pool, bench):
    jobs = [bench.job(seed=0, fault="child", timeout_seconds=1.5), bench.job(seed=1)]
    found = run(pool, bench, jobs)
    assert found[0].status == "timed_out" and found[0].reason.startswith("stopped after 1.5 s")
    # Its stack tells where it hung.
    assert "misbehave" in found[0].reason
    assert found[1].status == "completed"
    children = [line[2] for line in bench.lines("child")]
    assert len(children) == 1 and eventually(lambda: not alive(children[0]))


def test_a_talkative_worker_does_not_fill_the_disk(pool, bench, monkeypatch):
    monkeypatch.setattr(lane, "OUTPUT_BYTES", 2**20)
    found = run(pool, bench, [bench.job(seed=0, fault="chatter", steps=30, pause=0.05)])
    assert found[0].status == "completed"
    logs = [lane.folder / process.OUTPUT for lanes in pool._lanes.values() for lane in lanes]
    assert all(log.stat().st_size <= 2**20 for log in logs if log.exists())


def test_timing_trials_run_alone_and_in_order(pool, bench):
    jobs = [bench.job(seed=s, exclusive=s >= 3, pause=0.05, expected_seconds=s) for s in range(6)]
    found = run(pool, bench, jobs)
    assert found[3].environment["machine"] == "exclusive" and found[0].environment["machine"] == "shared"
    spans = {}
    for _, seed, _, _, moment in bench.lines():
        low, high = spans.get(seed, (moment, moment))
        spans[seed] = (min(low, moment), max(high, moment))
    order = sorted(range(3, 6), key=lambda s: spans[s][0])
    assert order == [3, 4, 5]
    for s in order:
        others = [spans[o] for o in range(6) if o != s]
        assert all(high <= spans[s][0] or low >= spans[s][1] for low, high in others)


def test_a_trial_that_another_runner_is_at_waits_and_then_runs(pool, bench, monkeypatch):
    monkeypatch.setattr(drain, "BUSY_SECONDS", 0.2)
    jobs = [bench.job(seed=s) for s in range(3)]
    lock = trial_lock(jobs[0], bench.folders)
    lock.__enter__()
    events, held = [], True

    def on_event(job, kind, share):
        nonlocal held
        events.append((job.trial.seed, kind))
        if held and (0, "waiting") in events and {(1, "completed"), (2, "completed")} <= set(events):
            held = False
            lock.__exit__(None, None, None)

    found = run(pool, bench, jobs, on_event)
    assert {s: r.status for s, r in found.items()} == dict.fromkeys(range(3), "completed")
    assert not held and events[-1] == (0, "completed")


STEPS = 120
"""Of a trial that is killed on its way: the other one may take seconds to begin."""
RUNNER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.execution.bench import Bench
from harness.execution.executors.local import LocalExecutor

if __name__ == "__main__":
    bench = Bench(Path(sys.argv[1]))
    jobs = [bench.job(seed=s, **{settings!r}) for s in range(int(sys.argv[2]))]
    with LocalExecutor(workers=2) as executor:
        for job, record in executor.run(jobs, bench.folders, lambda *_: None):
            print(job.trial.seed, record.status, record.resumed, record.metrics.get("total"), flush=True)
"""


def runner(bench, trials, **settings):
    script = bench.folder / "runner.py"
    script.write_text(RUNNER.format(root=str(ROOT), settings=settings))
    return subprocess.Popen(
        [sys.executable, str(script), str(bench.folder), str(trials)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=bench.folder,
    )


def test_workers_end_with_a_killed_runner_and_the_next_one_resumes(bench):
    process = runner(bench, 2, steps=STEPS, pause=0.05)
    assert eventually(lambda: {r[1] for r in bench.lines("step") if r[3] >= 3} == {0, 1}, 60)
    process.kill()
    process.communicate()
    pids = {line[2] for line in bench.lines("begin")}
    assert len(pids) == 2 and eventually(lambda: not any(alive(p) for p in pids), 2.0)
    reached = {s: max(r[3] for r in bench.lines("step") if r[1] == s) for s in (0, 1)}
    assert max(reached.values()) < STEPS
    # Again, here: each goes on from its checkpoint, to the undisturbed result.
    for seed in (0, 1):
        record = bench.run(bench.job(seed=seed, steps=STEPS, pause=0.05))
        begun = [r[3] for r in bench.lines("begin") if r[1] == seed]
        assert record.status == "completed" and record.resumed == 1
        assert len(begun) == 2 and reached[seed] - 1 <= begun[1] <= reached[seed]
        total = 0.0
        for step in range(STEPS):
            total += (seed + 1) / (step + 1)
        assert record.metrics["total"] == total


@pytest.mark.slow
def test_two_runners_at_once_run_each_trial_once(bench):
    settings = {"steps": 4, "pause": 0.05}
    pair = [runner(bench, 5, **settings) for _ in range(2)]
    told = [process.communicate(timeout=90) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], told
    assert sorted(line[1] for line in bench.lines("begin")) == list(range(5))
    assert sorted(told[0][0].splitlines()) == sorted(told[1][0].splitlines())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, -signal.SIGINT), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_stops_cleanly(bench, number, code):
    # Two run, two wait and must not begin.
    process = runner(bench, 4, steps=100, pause=0.05)
    assert eventually(lambda: {line[1] for line in bench.lines("step")} == {0, 1}, 60)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode in (code, 130), err
    assert out == ""
    pids = {line[2] for line in bench.lines("begin")}
    assert eventually(lambda: not any(alive(p) for p in pids), 2.0)
    assert len({line[1] for line in bench.lines("begin")}) == 2
    assert all((bench.scratch(seed=s, steps=100, pause=0.05) / "checkpoint.json").is_file() for s in (0, 1))


def test_leaving_early_stops_what_runs(bench):
    executor = LocalExecutor(workers=1)
    jobs = [bench.job(seed=0), bench.job(seed=1, steps=200, pause=0.05)]
    stream = executor.run(jobs, bench.folders, quiet)
    assert next(stream)[1].status == "completed"
    stream.close()
    executor.close()
    executor.close()
    pids = {line[2] for line in bench.lines("begin")}
    assert eventually(lambda: not any(alive(p) for p in pids), 2.0)


def test_no_workers_are_an_error():
    with pytest.raises(HarnessError, match="workers: got 0; give a number from 1 on"):
        LocalExecutor(workers=0)


def test_slots_divide_the_machine(monkeypatch):
    monkeypatch.setattr(slots, "available_cpus", lambda: list(range(8)))
    monkeypatch.setattr(slots, "cpu_slots", lambda: 8)
    assert [s.cpus for s in divide("cpu", 3)] == [(0, 1, 2), (3, 4, 5)]
    assert [s.cpus for s in divide("cpu", 1, limit=2)] == [(0,), (1,)]
    # More than there are cores, or a quota below them: nobody is pinned.
    assert [s.cpus for s in divide("cpu", 16)] == [()]
    assert [s.cpus for s in divide("cpu", 4, limit=3)] == [(), (), ()]
    monkeypatch.setattr(slots, "cpu_slots", lambda: 4)
    assert [s.cpus for s in divide("cpu", 2)] == [(), ()]


def test_gpus_are_slots(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-ab")
    assert visible_gpus() == ["3", "GPU-ab"]
    assert [(s.gpu, s.cpus) for s in divide("cuda", 4)] == [("3", ()), ("GPU-ab", ())]
    assert [s.gpu for s in divide("cuda", 4, trials_per_gpu=2)] == ["3", "3", "GPU-ab", "GPU-ab"]
    assert [s.gpu for s in divide("cuda", 4, limit=1)] == ["3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == [] and [s.gpu for s in divide("cuda", 1)] == [None]


def test_the_command_hands_trials_per_gpu_on(monkeypatch, tmp_path):
    from harness.cli import app
    from harness.commands import _running

    asked = []

    def record(name, **options):
        asked.append(options)
        raise HarnessError("seen")

    monkeypatch.setattr(_running, "executor", record)
    words = ["run", "muon_scaling", "profile=smoke", "--trials-per-gpu", "3", "--no-track"]
    with pytest.raises(SystemExit):
        app([*words, "--results", str(tmp_path)])
    assert asked == [{"trials_per_gpu": 3}]

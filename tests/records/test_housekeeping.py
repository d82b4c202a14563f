"""What may go, and what a trial in flight or a plan still needs."""

import multiprocessing
import sys
import threading
import time

import pytest

from harness.errors import BusyError, StoreError
from harness.files import lock, sealed
from harness.records.housekeeping import clean_scratch, scratch, unused
from harness.records.plans import write_plan
from harness.records.record import code_of
from tests.records.conftest import planned, record

FORK = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _at(path, ready):
    with lock(path):
        ready.set()
        time.sleep(60)


@pytest.fixture
def in_flight(store):
    """A trial that another process is at, with its folder and lock."""
    name = record(1).identity
    ready = FORK.Event()
    process = FORK.Process(target=_at, args=(store.work / "locks" / name, ready))
    process.start()
    assert ready.wait(30)
    (store.work / name).mkdir()
    (store.work / name / "checkpoint.pt").write_text("x")
    yield store.work / name
    process.kill()
    process.join()


def test_scratch_of_a_trial_in_flight_and_its_lock_stay(store, in_flight):
    left = store.work / record(2).identity
    left.mkdir()
    (store.work / "locks" / left.name).touch()
    assert scratch(store) == [left]
    assert left.is_dir()
    assert clean_scratch(store) == [left]
    assert not left.exists()
    assert (in_flight / "checkpoint.pt").is_file()
    assert [p.name for p in (store.work / "locks").iterdir()] == [in_flight.name]
    with pytest.raises(BusyError), lock(store.work / "locks" / in_flight.name, seconds=0.0):
        pass


def test_who_waits_while_scratch_is_cleaned_still_gets_the_lock_alone(store):
    """The lock's file goes; two who come then must not both hold a lock of that name."""
    path = store.work / "locks" / record(1).identity
    (store.work / record(1).identity).mkdir()
    held, most = [], []

    def take():
        with lock(path):
            held.append(1)
            most.append(len(held))
            time.sleep(0.02)
            held.pop()

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
        clean_scratch(store)
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def test_what_an_import_or_a_kill_left_half_written_goes(store):
    (store.runs / "staging" / "x").mkdir(parents=True)
    path = store.write(record()).path
    part = path.with_name(".tmp-1-0-part.json")
    part.write_text("{")
    assert set(clean_scratch(store)) == {part, store.runs / "staging" / "x"}
    assert path.is_file() and not part.exists()


def plan_of(*records, name="s"):
    rows = [{"planned": planned(r).model_dump(mode="json"), "code": code_of(r)} for r in records]
    return {"suite": {"name": name, "profile": "cpu"}, "rows": rows}


def test_records_that_no_plan_counts_are_unused(store):
    for seed in range(3):
        store.write(record(seed))
    write_plan(store, "s", "cpu", plan_of(record(0)))
    write_plan(store, "t", "cpu", plan_of(record(1), name="t"))
    assert unused(store, store.load()) == [record(2)]


def test_a_record_that_came_after_the_last_plan_is_used(store):
    store.write(record(0))
    plan = plan_of(record(0))
    plan["rows"][0]["code"] = None
    write_plan(store, "s", "cpu", plan)
    assert unused(store, store.load()) == []


def test_without_a_plan_nothing_counts_as_unused(store):
    store.write(record(0))
    with pytest.raises(StoreError, match="no plan is stored, so every record would count as unused; plan first"):
        unused(store, store.load())


def test_a_damaged_plan_keeps_everything(store):
    store.write(record(0))
    (store.plans / "s.cpu.json").write_text(sealed(plan_of(record(0)))[:-9])
    with pytest.raises(StoreError, match=r"s\.cpu\.json: damaged plan \(it is cut off\); .*plan again"):
        unused(store, store.load())

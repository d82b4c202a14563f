"""Files are whole or not there, locks are the kernel's, and every other byte of what is sealed is refused."""

import json
import multiprocessing
import os
import random
import stat
import sys
import time
from pathlib import Path

import pytest

from harness import files
from harness.errors import BusyError, DamagedError, HarnessError

FORK = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


# --- writing -----------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_is_as_readable_as_others(tmp_path):
    path = tmp_path / "new" / "folder" / "a"
    files.write_atomically(path, b"one")
    files.write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert [p.name for p in path.parent.iterdir()] == ["a"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    files.write_atomically(path, b"old")
    with pytest.raises(RuntimeError), files.atomic_file(path) as out:
        out.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_file_and_folder_are_synced_the_folder_after_the_rename(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace

    def noted(handle):
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", lambda *paths: (events.append("rename"), replace(*paths))[1])
    files.write_atomically(tmp_path / "a", b"x")
    assert events == ["file", "rename", "folder"]
    events.clear()
    files.append_line(tmp_path / "log", "line")
    assert events == ["file", "folder"]
    events.clear()
    files.make_folder(tmp_path / "b" / "c")
    assert events == ["folder", "folder"]


def test_a_line_that_was_cut_off_does_not_swallow_the_next(tmp_path):
    log = tmp_path / "log"
    files.append_line(log, "one")
    with log.open("a") as out:
        out.write("tw")
    files.append_line(log, "three")
    assert log.read_text().splitlines() == ["one", "tw", "three"]


def _append(path, who):
    for n in range(50):
        files.append_line(path, f"{who} {n} " + "x" * 5000)


def test_lines_of_several_writers_do_not_mix(tmp_path):
    writers = [FORK.Process(target=_append, args=(tmp_path / "log", w)) for w in "abc"]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 150
    assert all(len(line.split()[2]) == 5000 for line in lines)


# --- locks -------------------------------------------------------------------------------------------------


def _hold(path, shared, who, ready):
    with files.lock(path, shared=shared, who=who):
        ready.set()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the lock until it is killed."""
    started = []

    def start(shared, who=""):
        ready = FORK.Event()
        process = FORK.Process(target=_hold, args=(tmp_path / "lock", shared, who, ready))
        process.start()
        assert ready.wait(30)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def test_shared_locks_go_together_and_an_exclusive_one_names_who_holds_them(tmp_path, holder):
    first = holder(shared=True, who="harness run")
    with files.lock(tmp_path / "lock", shared=True, seconds=0.0, who="harness report"):
        pass
    told = rf"harness run \(process {first.pid} since .*try again"
    with pytest.raises(BusyError, match=told) as caught, files.lock(tmp_path / "lock", seconds=0.0):
        pass
    assert len(caught.value.holders) == 1


def test_an_exclusive_lock_keeps_shared_ones_out(tmp_path, holder):
    holder(shared=False)
    with pytest.raises(BusyError, match="in use by another process"), files.lock(
        tmp_path / "lock", shared=True, seconds=0.1
    ):
        pass


def test_the_lock_of_a_killed_process_is_free_and_it_is_named_no_longer(tmp_path, holder):
    process = holder(shared=True, who="harness run")
    process.kill()
    process.join()
    assert files.holders(tmp_path / "lock") == []
    with files.lock(tmp_path / "lock", seconds=0.0):
        assert [p.name for p in tmp_path.iterdir()] == ["lock"]


def test_a_lock_file_that_its_holder_removed_locks_nobody_out_or_in(tmp_path):
    path = tmp_path / "lock"
    waiting = FORK.Process(target=_append_under, args=(path, tmp_path / "log"))
    with files.lock(path):
        waiting.start()
        # It opens the file and waits; then the file it waits for is gone.
        while not (tmp_path / "log.begun").exists():
            time.sleep(0.01)
        path.unlink()
    waiting.join()
    assert (tmp_path / "log").read_text() == "True\n"


def _append_under(path, log):
    log.with_name("log.begun").touch()
    with files.lock(path):
        files.append_line(log, str(path.exists()))


# --- reading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "why"), [
    (b"{", "not JSON: Expecting property name"), (b"\xff", "not JSON: .*utf-8"), (b"[" * 100_000, "not JSON"),
    (None, "No such file"),
])  # fmt: skip
def test_what_is_no_json_is_named_with_the_reason(tmp_path, content, why):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HarnessError, match=rf"a\.json: {why}"):
        files.read_json(path)


def test_links_are_found_at_any_depth(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "link").symlink_to("nowhere")
    (tmp_path / "folder").symlink_to("a")
    assert files.links_below(tmp_path) == [tmp_path / "a" / "b" / "link", tmp_path / "folder"]
    assert files.links_below(tmp_path / "folder") == [tmp_path / "folder"]


# --- checksums ---------------------------------------------------------------------------------------------

VALUE = {"loss": 1.5, "name": "Müller", "rows": [[1, None], [2, 0.1]]}


def test_a_sealed_line_is_json_with_its_checksum_first():
    line = files.sealed(VALUE)
    assert next(iter(json.loads(line))) == "sha256"
    assert line.count("\n") == 1
    assert files.unsealed(line.encode()) == VALUE


def test_every_flipped_bit_and_every_cut_of_a_sealed_line_is_refused():
    line = files.sealed(VALUE).encode()
    for n in range(len(line)):
        for bit in range(8):
            with pytest.raises(DamagedError):
                files.unsealed(line[:n] + bytes([line[n] ^ 1 << bit]) + line[n + 1 :])
        with pytest.raises(DamagedError):
            files.unsealed(line[:n])
    with pytest.raises(DamagedError):
        files.unsealed(line + b"\n")


def test_a_line_of_an_earlier_version_is_taken_where_that_is_allowed():
    assert files.unsealed(b'{"a": 1}\n', old=("a", "b")) == {"a": 1}
    for line, old in ((b'{"a": 1}\n', ()), (b'{"sha256":"00","a":1}', ("a",)), (b'{"sha257":"00"}', ("a",))):
        with pytest.raises(DamagedError, match="does not begin with its checksum"):
            files.unsealed(line, old=old)
    with pytest.raises(DamagedError, match="not an object"):
        files.unsealed(b"[]", old=("a",))


def test_a_sealed_file_gives_back_label_and_content(tmp_path):
    content = random.Random(0).randbytes(100_000)
    with files.sealed_file(tmp_path / "a", "label") as out:
        out.write(content)
    with files.open_sealed_file(tmp_path / "a") as (label, file):
        assert (label, file.read()) == ("label", content)


def test_every_flipped_byte_and_every_cut_of_a_sealed_file_is_refused(tmp_path):
    with files.sealed_file(tmp_path / "a", "label") as out:
        out.write(b"content")
    whole = (tmp_path / "a").read_bytes()
    changed = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(len(whole))]
    for content in [*changed, *(whole[:n] for n in range(len(whole))), whole + b"x"]:
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(DamagedError), files.open_sealed_file(tmp_path / "a"):
            pass

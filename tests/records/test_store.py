"""Records are written once and read only if they are what was written."""

import hashlib

import pytest

from harness.errors import StoreError
from harness.files import sealed, unsealed
from harness.outcome import Table
from harness.records import store as store_module
from harness.records.encoding import decode
from harness.records.record import Artifact
from harness.records.store import Store
from tests.records.conftest import record


def test_records_come_back_as_written(store):
    r = record()
    store.write(r)
    records = store.load()
    assert records.by_identity[r.identity] == [r]
    assert r.metrics["bad"] is None
    assert "NaN" not in store.path_of(r).read_text()


def test_records_of_other_code_lie_beside_each_other(store):
    for digest in ("1", "2"):
        store.write(record(fingerprint={"m": digest}))
    assert len(store.load().by_identity[record().identity]) == 2


def test_a_truncated_record_is_quarantined_and_reported(store):
    path = store.write(record()).path
    path.write_bytes(path.read_bytes()[:-20])
    records = store.load()
    assert len(records) == 0
    assert "moved to" in records.notes[0]
    assert "run again" in records.notes[0]
    assert len(list((store.runs / "quarantine").iterdir())) == 1
    assert store.load().notes == []


def test_a_record_under_a_wrong_name_is_quarantined(store):
    path = store.write(record(0)).path
    path.rename(path.with_name("0" * 32 + path.name[32:]))
    assert "another identity" in store.load().notes[0]


def test_leftovers_of_a_kill_in_mid_write_are_not_records(store):
    r = record()
    path = store.write(r).path
    (path.parent / ".tmp-abc").write_text("{")
    assert len(store.load()) == 1


def test_artifacts_move_with_their_record(store, tmp_path):
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "model.bin").write_bytes(b"x")
    r = record()
    store.write(r, staging)
    assert (store.artifact_folder(r) / "model.bin").read_bytes() == b"x"
    store.remove(r)
    assert not store.artifact_folder(r).exists()


def test_unwritable_folder_is_a_clear_error(tmp_path):
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(StoreError, match=r"cannot be written.*--results FOLDER"):
        Store(tmp_path / "results").prepare()


# --- what is not what was written --------------------------------------------------------------------------


def edited(path, change):
    """The file with its text changed, its checksum left."""
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before


@pytest.mark.parametrize(("change", "why"), [
    (lambda t: t.replace('"test_loss":1.5', '"test_loss":0.75'), "its content is not what its checksum says"),
    (lambda t: t.replace('"schema_version":2', '"schema_version":99'), "its content is not what its checksum says"),
    (lambda t: t[:-1], "it is cut off"),
    (lambda t: "{" + t.partition(",")[2], "it does not begin with its checksum"),
    (lambda t: "", "it is not JSON"),
])  # fmt: skip
def test_an_altered_record_is_quarantined_with_the_reason(store, change, why):
    edited(store.write(record()).path, change)
    records = store.load()
    assert len(records) == 0
    assert why in records.notes[0]
    assert len(list((store.runs / "quarantine").iterdir())) == 1


def test_a_record_of_a_later_version_is_quarantined_and_says_so(store):
    path = store.write(record()).path
    path.write_text(sealed({**unsealed(path.read_bytes()), "schema_version": 99}))
    assert "its schema_version is 99, this version of the harness reads 1 to 2" in store.load().notes[0]


def test_a_copied_record_is_quarantined_and_the_original_stays(store):
    path = store.write(record()).path
    (store.records / "00").mkdir()
    for copy in (path.with_name(f"{record().identity}.0123456789.json"), store.records / "00" / path.name):
        copy.write_bytes(path.read_bytes())
    records = store.load()
    assert len(records) == 1
    assert [("belongs to another identity" in n) for n in records.notes] == [True, True]


def test_a_link_in_the_place_of_a_record_is_quarantined(store, tmp_path):
    path = store.write(record()).path
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert "it is a symbolic link" in store.load().notes[0]


def test_a_linked_folder_of_records_is_quarantined(store, tmp_path):
    shard = store.write(record()).path.parent
    shard.rename(tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    records = store.load()
    assert len(records) == 0 and "it is a symbolic link" in records.notes[0]
    assert not shard.is_symlink() and (tmp_path / "elsewhere").is_dir()


def test_artifacts_that_are_links_are_refused(store, tmp_path):
    r = with_file(store, b"x")
    folder = store.artifact_folder(r)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"a symbolic link; remove .*run again"):
        store.checked_artifacts(r)


def test_a_linked_folder_is_refused(store, tmp_path):
    store.records.rename(tmp_path / "elsewhere")
    store.records.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"runs/records: a symbolic link; .*move the folder here"):
        store.prepare()


def test_artifacts_are_read_only_if_they_are_what_was_left(store):
    r = with_file(store, b"x")
    assert (store.checked_artifacts(r) / "model.bin").read_bytes() == b"x"
    (store.artifact_folder(r) / "model.bin").write_bytes(b"y")
    with pytest.raises(StoreError, match=r"model\.bin: altered: its SHA-256 .*remove .*run again"):
        store.checked_artifacts(r)
    (store.artifact_folder(r) / "model.bin").unlink()
    with pytest.raises(StoreError, match=r"model\.bin: missing"):
        store.checked_artifacts(r)


def with_file(store, content, **changes):
    """A stored record with an artifact."""
    staging = store.root / "staging"
    staging.mkdir()
    (staging / "model.bin").write_bytes(content)
    artifact = Artifact(file="model.bin", sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    r = record(artifacts={"model": artifact}, **changes)
    return store.write(r, staging).record


def test_a_link_among_staged_files_is_refused(store, tmp_path):
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match="passwords: a symbolic link among a trial's files"):
        store.write(record(), staging)


# --- nothing becomes worse ---------------------------------------------------------------------------------


@pytest.mark.parametrize("finished", ["completed", "diverged"])
def test_a_failed_rerun_leaves_the_finished_record_and_is_kept_beside(store, finished):
    r = record(status=finished)
    path = store.write(r).path
    before = path.read_bytes()
    written = store.write(record(status="crashed", reason="signal 9", metrics={}, curves={}, probes={}))
    assert path.read_bytes() == before
    assert written.record == r
    assert f"ended as 'crashed'; the {finished} record stays" in written.note
    assert decode(written.path.read_bytes()).reason == "signal 9"
    assert store.load().by_identity[r.identity] == [r]


def test_a_failed_record_is_replaced(store):
    store.write(record(status="crashed", metrics={}))
    assert store.write(record()).record == record()
    assert store.load().by_identity[record().identity] == [record()]


def test_a_rerun_adds_its_probes_and_keeps_those_that_are_there(store):
    store.write(record(started="first"))
    more = {"ranks": Table(columns=["step"], rows=[[1]])}
    metrics = {**record().metrics, "seconds_training": 7.0}
    written = store.write(record(started="second", probes=more, metrics=metrics))
    assert set(written.record.probes) == {"spectra", "ranks"}
    assert written.record.started == "first"
    assert written.note == ""
    assert store.load().by_identity[record().identity] == [written.record]


@pytest.mark.parametrize(("changes", "why"), [
    ({"metrics": {"test_loss": 1.5000000000000002, "bad": None}}, "test_loss 1.5 before, 1.5000000000000002 now"),
    ({"curves": {}}, "curve train_loss"),
    ({"status": "diverged", "diverged_step": 3}, "completed before, diverged at step 3 now"),
    ({"metrics": {"test_loss": 1.5, "bad": None, "flops": 1.0}}, "flops absent before, 1.0 now"),
])  # fmt: skip
def test_a_rerun_with_other_numbers_puts_both_in_quarantine(store, changes, why):
    path = store.write(record()).path
    written = store.write(record(**changes))
    assert written.record is None
    assert why in written.note and "neither counts" in written.note
    assert not path.exists()
    kept = [decode(p.read_bytes()) for p in (store.runs / "quarantine").iterdir()]
    assert len(kept) == 2 and record() in kept
    assert len(store.load()) == 0


def test_a_rerun_whose_files_differ_puts_both_in_quarantine(store):
    with_file(store, b"x")
    assert store.load().by_identity
    with_file_again = with_file(store, b"y")
    assert with_file_again is None
    assert len(store.load()) == 0


def test_a_rerun_with_the_same_files_leaves_them(store):
    first = with_file(store, b"x")
    assert with_file(store, b"x") == first
    assert store.checked_artifacts(first).is_dir()


# --- several commands at once ------------------------------------------------------------------------------


def test_commands_that_remove_wait_for_those_that_read_and_say_for_whom(store):
    refused = pytest.raises(StoreError, match=r"clean has to wait, .*by harness run .*harness report .*try again")
    with store.shared("harness run"), store.shared("harness report"), refused, store.exclusive("harness clean"):
        pass
    with store.exclusive("harness clean"):
        pass


def test_reading_waits_for_a_while_only(store, monkeypatch):
    monkeypatch.setattr(store_module, "WAIT_SECONDS", 0.1)
    refused = pytest.raises(StoreError, match=r"harness run has to wait, .*in use by harness clean \(process \d+")
    with store.exclusive("harness clean"), refused, store.shared("harness run"):
        pass


def test_a_folder_where_nothing_was_run_needs_no_lock(tmp_path):
    with Store(tmp_path / "none").exclusive("harness clean"):
        assert not (tmp_path / "none").exists()

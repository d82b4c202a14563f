"""Records are written once and read only if they are what was written."""

import pytest

from harness.errors import StoreError
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

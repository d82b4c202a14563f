"""Records of another store come whole or not at all, and make nothing here worse."""

import shutil

import pytest

from harness.errors import StoreError
from harness.outcome import Table
from harness.records.importing import import_records
from harness.records.record import Artifact
from harness.records.store import Store
from tests.records.conftest import record


@pytest.fixture
def other(tmp_path):
    """A store that `harness execute` left: three records, one with a file."""
    s = Store(tmp_path / "other")
    s.prepare()
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "a.txt").write_text("x")
    sha = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    s.write(record(0, artifacts={"a": Artifact(file="a.txt", sha256=sha, bytes=1)}), staging)
    s.write(record(1))
    s.write(record(2, status="crashed", metrics={}))
    return s


@pytest.fixture
def here(tmp_path):
    s = Store(tmp_path / "here")
    s.prepare()
    return s


def content(store):
    """Path -> bytes, locks apart."""
    files = (p for p in store.runs.rglob("*") if p.is_file() and "lock" not in p.name)
    return {p.relative_to(store.runs): p.read_bytes() for p in files}


def test_records_and_files_arrive_as_they_were(other, here):
    assert import_records(other, here) == 3
    assert content(here) == content(other)
    assert import_records(other, here) == 0
    assert content(here) == content(other)


def damage_record(other):
    path = other.path_of(record(1))
    path.write_text(path.read_text().replace("1.5", "0.5"))


def damage_file(other):
    next(other.artifacts.rglob("a.txt")).write_text("y")


def lose_file(other):
    next(other.artifacts.rglob("a.txt")).unlink()


def link_file(other):
    path = next(other.artifacts.rglob("a.txt"))
    path.rename(other.root / "a.txt")
    path.symlink_to(other.root / "a.txt")


def link_folder(other):
    folder = next(other.artifacts.iterdir())
    folder.rename(other.root / folder.name)
    folder.symlink_to(other.root / folder.name)


def link_records(other):
    shard = other.path_of(record(1)).parent
    shard.rename(other.root / shard.name)
    shard.symlink_to(other.root / shard.name)


def link_elsewhere(other):
    (other.runs / "passwords").symlink_to("/etc/passwd")


def other_name(other):
    path = other.path_of(record(1))
    path.rename(path.with_name(f"{'0' * 32}.{path.name.partition('.')[2]}"))


@pytest.mark.parametrize(("harm", "told"), [
    (damage_record, "damaged record: its content is not what its checksum says; execute it again; nothing was"),
    (damage_file, r"a\.txt: altered: .*nothing was imported"),
    (lose_file, r"a\.txt: missing.*nothing was imported"),
    (link_file, r"a\.txt: a symbolic link.*nothing was"),
    (link_folder, "a symbolic link.*nothing was"),
    (link_records, "a symbolic link.*nothing was"),
    (link_elsewhere, "passwords: a symbolic link.*nothing was"),
    (other_name, "its content belongs to another identity"),
])  # fmt: skip
def test_one_that_is_damaged_keeps_all_out(other, here, harm, told):
    harm(other)
    with pytest.raises(StoreError, match=told):
        import_records(other, here)
    assert content(here) == {}


def test_one_that_contradicts_a_record_here_keeps_all_out(other, here):
    here.write(record(1, metrics={"test_loss": 1.25, "bad": None}))
    before = content(here)
    with pytest.raises(StoreError, match=r"here \(test_loss 1\.25 before, 1\.5 now\); nothing was imported"):
        import_records(other, here)
    assert content(here) == before


def test_a_failure_does_not_take_the_place_of_a_finished_record(other, here):
    here.write(record(2))
    assert import_records(other, here) == 2
    assert here.load().by_identity[record(2).identity] == [record(2)]
    assert not here.attempts.exists()


def test_a_finished_record_takes_the_place_of_a_failure(other, here):
    here.write(record(1, status="crashed", metrics={}))
    assert import_records(other, here) == 3
    assert here.load().by_identity[record(1).identity] == [record(1)]


def test_probes_that_are_missing_here_are_added(other, here):
    here.write(record(1, probes={"ranks": Table(columns=["step"], rows=[[0]])}))
    import_records(other, here)
    (merged,) = here.load().by_identity[record(1).identity]
    assert set(merged.probes) == {"ranks", "spectra"}


def test_an_import_waits_for_nobody(other, here):
    refused = pytest.raises(StoreError, match=r"harness execute --import has to wait, .*in use by harness run")
    with here.shared("harness run"), refused:
        import_records(other, here)


def test_a_full_disk_leaves_the_store_as_it_was(other, here, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(StoreError, match="No space left on device; nothing was imported"):
        import_records(other, here)
    assert content(here) == {}

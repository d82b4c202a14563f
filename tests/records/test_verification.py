"""Whatever happens to a file of a results folder, verification names it; and it names nothing that is well."""

import hashlib
import json
import random
import re
import shutil
from pathlib import Path

import pytest

from harness import plugins, training
from harness.files import append_line, sealed, unsealed
from harness.records import verification
from harness.records.accepted import accept, accepted_file
from harness.records.verification import verify
from harness.trial import Trial, digest
from tests.records.conftest import record
from tests.records.mutations import harm, little_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return little_store(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def copy(whole, tmp_path):
    """Another copy of the store at each call."""
    number = iter(range(1000))

    def fresh():
        root = tmp_path / str(next(number))
        shutil.copytree(whole.root, root, symlinks=True)
        return type(whole)(root)

    return fresh


def damage(store):
    return [f for f in verify(store.root) if f.damaged]


def test_a_whole_store_has_nothing_to_be_said_of(copy):
    assert verify(copy().root) == []


def test_verification_changes_nothing(copy):
    store = copy()
    harm(store, random.Random(0))
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.exists()}
    assert verify(store.root)
    assert {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.exists()} == before


def unseen(copy, count, seed):
    """What random harm verification did not see, of so many."""
    out = []
    for n in range(count):
        store = copy()
        done = harm(store, random.Random(f"{seed} {n}"))
        if not damage(store):
            out.append(done)
        shutil.rmtree(store.root)
    return out


def test_random_harm_is_found(copy):
    assert unseen(copy, 60, "some") == []


@pytest.mark.slow
def test_300_of_300_random_mutations_are_found(copy):
    assert unseen(copy, 300, "all") == []


@pytest.mark.parametrize(("find", "old", "new", "told"), [
    ("runs/records/*/*.json", '"test_loss":1.5', '"test_loss":0.75', "its content is not what its checksum says"),
    ("reference/cpu/s.jsonl", '"test_loss":1.5', '"test_loss":0.75', "damaged reference: its content is not what"),
    ("runs/plans/s.cpu.json", '"state":"done"', '"state":"gone"', "plan again, no trial is repeated"),
    ("data/corpora/*/meta.json", "text.txt", "next.txt", r"altered: .*build again"),
    ("data/index/*.json", '"digest":"', '"digest":"0', "its data set will be built again"),
])  # fmt: skip
def test_a_finding_says_what_is_wrong_and_the_cure(copy, find, old, new, told):
    store = copy()
    path = next(store.root.glob(find))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = damage(store)
    assert len(found) == 1
    assert re.search(told, found[0].what)


def test_a_record_that_a_plan_counts_is_missed(copy):
    store = copy()
    path = next(store.record_files())
    path.unlink()
    found = {f.path: f.what for f in damage(store)}
    assert found[path] == "missing, although s.cpu.json counts it; its trial will run again"
    # Its files belong to nobody now.
    assert any("a file of no record here" in what for what in found.values())


@pytest.mark.parametrize("name", ["records", "plans", "artifacts"])
def test_a_folder_that_is_gone_whole_is_missed(copy, name):
    store = copy()
    shutil.rmtree(store.runs / name)
    found = {f.path: f.what for f in damage(store)}
    assert found[store.runs / name].startswith("missing; ")


def test_plans_that_are_gone_are_missed_where_a_run_was_finished(copy):
    store = copy()
    next(store.plans.iterdir()).unlink()
    assert damage(store) == []
    (store.runs / "ledgers").mkdir()
    (store.runs / "ledgers" / "an_entry.json").write_text("{}")
    assert [f.path for f in damage(store)] == [store.plans]


def test_an_empty_folder_of_results_is_no_damage(tmp_path):
    (tmp_path / "runs" / "logs").mkdir(parents=True)
    assert verify(tmp_path) == []


def test_harm_to_the_copy_of_a_plugin_is_found(copy, tmp_path):
    store = copy()
    (tmp_path / "helper.py").write_text("X = 1\n")
    (tmp_path / "mine.py").write_text("import helper\n")
    plugin = plugins.read(tmp_path / "mine.py")
    plugins.write_copy(plugin, store.runs / "plugins")
    assert verify(store.root) == []
    folder = store.runs / "plugins" / plugin.digest
    for harmed in ("helper.py", "mine.py"):
        text = (folder / harmed).read_text()
        (folder / harmed).write_text(text + "# more\n")
        assert [f.path for f in damage(store)] == [folder]
        (folder / harmed).write_text(text)
    (folder / "helper.py").unlink()
    assert "remove it: it is copied again" in damage(store)[0].what


def test_harm_to_artifacts_that_a_round_brought_is_found(copy):
    store = copy()
    content = b"weights"
    files = {"model.bin": hashlib.sha256(content).hexdigest()}
    reader = record(50, needs={"model": digest(files)}, trial=Trial(
        workload="toy", config={}, seed=50, needs={"model": "ab" * 16}
    ))  # fmt: skip
    store.write(reader)
    brought = store.runs / "needed" / f"{'ab' * 16}.0123456789"
    brought.mkdir(parents=True)
    (brought / "model.bin").write_bytes(content)
    assert verify(store.root) == []
    (brought / "model.bin").write_bytes(content[::-1])
    assert [f.path for f in damage(store)] == [brought]
    (brought / "model.bin").unlink()
    assert [f.path for f in damage(store)] == [brought]


def test_files_that_no_record_names_are_listed(copy):
    store = copy()
    folder = next(p for p in store.artifacts.iterdir())
    (folder / "extra").write_text("")
    assert [f.what for f in damage(store)] == ["not among the files that its record names; remove it"]


def test_quarantine_is_a_note(copy):
    store = copy()
    path = next(store.record_files())
    path.write_bytes(path.read_bytes()[:-1])
    store.load()
    assert any("in quarantine" in f.what and not f.damaged for f in verify(store.root))


def test_the_accept_log_is_looked_at_line_by_line(copy):
    store = copy()
    r = record()
    accept(store, [r], {r.identity: {"m": "2"}}, "a rename")
    accept(store, [r], {r.identity: {"m": "3"}}, "another")
    assert verify(store.root) == []
    path = accepted_file(store)
    path.write_text(path.read_text().replace("another", "one more"))
    assert [f.what for f in damage(store)] == [
        f"line 2: its content is not what its checksum says; restore it: git checkout -- {path}"
    ]


def test_what_earlier_versions_wrote_is_a_note_not_damage(copy):
    store = copy()
    path = next(store.record_files())
    fields = unsealed(path.read_bytes())
    for key in ("tables", "notes"):
        del fields[key]
    path.write_text(json.dumps({**fields, "schema_version": 1}))
    append_line(store.root / "reference" / "cpu" / "history.txt", '{"suite": "s"}')
    found = verify(store.root)
    assert not [f for f in found if f.damaged]
    assert [f.what.partition(",")[0] for f in found] == [
        "lines of an earlier version", "a record of an earlier version"
    ]


def test_the_committed_references_are_readable():
    found = verify(ROOT / "results", data=False)
    assert not [f for f in found if f.damaged]


def test_it_looks_for_the_checkpoints_that_the_training_loop_writes():
    assert verification.CHECKPOINT == training.CHECKPOINT


def test_a_sealed_but_impossible_plan_is_named(copy):
    store = copy()
    path = next(store.plans.iterdir())
    path.write_text(sealed({"suite": {}, "rows": []}))
    assert "it is no plan: KeyError: 'name'" in damage(store)[0].what

import json
import math

import pytest

from harness.errors import StoreError
from harness.outcome import Curve, Table
from harness.records.record import Planned, Record
from harness.records.store import (
    Row,
    Store,
    curves_frame,
    load_rows,
    load_trials,
    probes_frame,
    trials_frame,
)
from harness.trial import Trial


def record(seed=0, **changes):
    fields = {
        "trial": Trial(workload="w", config={"a": 1}, seed=seed),
        "status": "completed",
        "metrics": {"test_loss": 1.5, "bad": math.inf},
        "fingerprint": {"m": "1"},
        "numerics_class": "c",
        "curves": {"train_loss": Curve(steps=list(range(500)), values=[1 / 3] * 499 + [None])},
        "probes": {"spectra": Table(columns=["step", "value"], rows=[[0, 1.23456789012]])},
        "seconds": {"total": 1.0},
        "environment": {"python": "3"},
    }
    return Record.model_validate({**fields, **changes})


def planned(r, **changes):
    return Planned.model_validate(
        {
            "trial": r.trial,
            "suite": "s",
            "profile": "cpu",
            "arm": "adamw",
            "cell": {"size": "d24"},
            "hyperparameters": {"optimizer.lr": 0.5},
            **changes,
        }
    )


@pytest.fixture
def store(tmp_path):
    s = Store(tmp_path)
    s.prepare()
    return s


def test_records_come_back_as_written(store):
    r = record()
    store.write(r)
    shelf = store.load()
    assert shelf.by_identity[r.identity] == [r]
    assert r.metrics["bad"] is None
    assert "NaN" not in store.path_of(r).read_text()


def test_records_of_other_code_lie_beside_each_other(store):
    for digest in ("1", "2"):
        store.write(record(fingerprint={"m": digest}))
    assert len(store.load().by_identity[record().identity]) == 2


def test_a_truncated_record_is_quarantined_and_reported(store):
    path = store.write(record())
    path.write_bytes(path.read_bytes()[:-20])
    shelf = store.load()
    assert len(shelf) == 0
    assert "moved to" in shelf.notes[0]
    assert "run again" in shelf.notes[0]
    assert len(list((store.runs / "quarantine").iterdir())) == 1
    assert store.load().notes == []


def test_a_record_under_a_wrong_name_is_quarantined(store):
    path = store.write(record(0))
    path.rename(path.with_name("0" * 32 + path.name[32:]))
    assert "another identity" in store.load().notes[0]


def test_leftovers_of_a_kill_in_mid_write_are_not_records(store):
    r = record()
    path = store.write(r)
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


def test_frames_have_labels_metrics_and_nan_for_what_is_not_finite():
    r = record()
    rows = [Row(planned(r), r), Row(planned(record(1)), None)]
    frame = trials_frame(rows)
    assert list(frame["optimizer.lr"]) == [0.5]
    assert frame.loc[0, "size"] == "d24"
    assert math.isnan(frame.loc[0, "bad"])
    curves = curves_frame(rows)
    assert len(curves) == 500
    assert curves["value"].isna().sum() == 1
    assert list(probes_frame(rows)["value"]) == [1.23456789012]


def test_stored_plan_gives_rows_and_the_public_frame(store):
    from harness.records.store import code_of

    r = record()
    store.write(r)
    rows = [
        {
            "planned": planned(r).model_dump(mode="json", exclude_defaults=True),
            "state": "done",
            "code": code_of(r),
        }
    ]
    store.write_plan("s", "cpu", {"suite": {"name": "s", "profile": "cpu"}, "rows": rows})
    _, loaded = load_rows(store, "s", "cpu")
    assert loaded[0].record == r
    assert load_trials("s", "cpu", store.root)["test_loss"].tolist() == [1.5]
    with pytest.raises(StoreError, match=r"harness run other profile=cpu"):
        load_trials("other", "cpu", store.root)


def test_reference_round_trip_keeps_metrics_and_thins_curves(store):
    rows = [Row(planned(record(s)), record(s)) for s in range(20)]
    plan = {"suite": {"name": "s", "profile": "cpu", "probes": {"spectra": {}}}, "rows": []}
    path = store.write_reference("s", "cpu", plan, rows)
    _, back = store.read_reference("s", "cpu")
    assert [b.record.metrics for b in back] == [r.record.metrics for r in rows]
    assert [b.planned for b in back] == [r.planned for r in rows]
    curve = back[0].record.curves["train_loss"]
    assert len(curve.steps) == 32
    assert curve.steps[-1] == 499
    assert curve.values[-1] is None
    assert curve.values[0] == 0.33333
    assert back[0].record.fingerprint == {"m": "1"}
    assert back[0].record.identity == rows[0].record.identity
    assert back[3].record.probes["spectra"].rows == [[0, 1.2346]]
    text = path.read_text()
    assert text.count('"python"') == 1
    path.write_text(text[:-30])
    with pytest.raises(StoreError, match=r"s\.jsonl:21: damaged"):
        store.read_reference("s", "cpu")


def test_accept_log_appends_and_is_checked(store):
    r = record()
    store.accept([r], {r.identity: {"m": "2"}}, "only a rename")
    store.accept([r], {r.identity: {"m": "3"}}, "again")
    assert sorted(store.accepted().values()) == ["again", "only a rename"]
    assert len(store.accepted_file.read_text().splitlines()) == 2
    assert json.loads(store.accepted_file.read_text().splitlines()[0])["reason"] == "only a rename"
    store.accepted_file.write_text("nonsense\n")
    with pytest.raises(StoreError, match=r"accepted\.jsonl:1"):
        store.accepted()

import math

from harness.outcome import Curve, Table
from harness.records.frames import curves_frame, probes_frame, tables_frame, trials_frame
from harness.records.record import Row
from tests.records.conftest import planned, record


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


def test_tables_have_labels_then_their_own_columns_and_a_clash_is_renamed():
    images = Table(columns=["image", "bits", "seed"], rows=[["a", 1.5, 7], ["b", None, 8]])
    r = record(3, tables={"images": images, "blocks": Table(columns=["loss"], rows=[[0.25]])})
    frame = tables_frame([Row(planned(r), r), Row(planned(record(1)), None), Row(planned(record(2)), record(2))])
    assert list(frame["table"]) == ["images", "images", "blocks"]
    assert set(frame["seed"]) == {3} and set(frame["size"]) == {"d24"} and set(frame["role"]) == {"evaluation"}
    assert set(frame["identity"]) == {r.identity}
    assert list(frame["images_seed"][:2]) == [7, 8]
    assert list(frame["bits"].isna()) == [False, True, True]
    assert frame["loss"][2] == 0.25
    assert tables_frame([]).empty


def test_a_trial_that_diverged_at_once_leaves_the_types_of_the_others_alone():
    """Steps of 40 and "40.0" are two checkpoints to whoever names a part by them."""
    table = Table(columns=["step", "value"], rows=[[3, 0.5]])
    whole = record(0, probes={"p": table}, tables={"t": table})
    empty = Table(columns=["step", "value"], rows=[])
    nothing = {"curves": {"train_loss": Curve(steps=[], values=[])}, "probes": {"p": empty}, "tables": {"t": empty}}
    broken = record(1, status="diverged", **nothing)
    rows = [Row(planned(r), r) for r in (broken, whole, broken)]
    for frame in (curves_frame(rows), probes_frame(rows), tables_frame(rows)):
        assert frame["step"].dtype.kind == "i" and frame["value"].dtype.kind == "f"

import math

from harness.records.frames import curves_frame, probes_frame, trials_frame
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

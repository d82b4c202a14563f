import pytest

from harness.errors import StoreError
from harness.records.record import Row
from harness.records.reference import read_reference, write_reference
from tests.records.conftest import planned, record


def test_reference_round_trip_keeps_metrics_and_thins_curves(store):
    rows = [Row(planned(record(s)), record(s)) for s in range(20)]
    plan = {"suite": {"name": "s", "profile": "cpu", "probes": {"spectra": {}}}, "rows": []}
    path = write_reference(store, "s", "cpu", plan, rows)
    _, back = read_reference(store, "s", "cpu")
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
        read_reference(store, "s", "cpu")

import pytest

from harness.errors import StoreError
from harness.records.frames import load_trials
from harness.records.plans import load_rows, write_plan
from harness.records.record import code_of
from tests.records.conftest import planned, record


def test_stored_plan_gives_rows_and_the_public_frame(store):
    r = record()
    store.write(r)
    rows = [
        {
            "planned": planned(r).model_dump(mode="json", exclude_defaults=True),
            "state": "done",
            "code": code_of(r),
        }
    ]
    write_plan(store, "s", "cpu", {"suite": {"name": "s", "profile": "cpu"}, "rows": rows})
    _, loaded = load_rows(store, "s", "cpu")
    assert loaded[0].record == r
    assert load_trials("s", "cpu", store.root)["test_loss"].tolist() == [1.5]
    with pytest.raises(StoreError, match=r"harness run other profile=cpu"):
        load_trials("other", "cpu", store.root)

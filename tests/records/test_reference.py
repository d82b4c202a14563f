import json

import pytest

from harness.errors import StoreError
from harness.files import sealed, unsealed
from harness.outcome import Table
from harness.records.record import Row
from harness.records.reference import is_checksummed, packed, read_reference, unpacked, write_reference
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


@pytest.mark.parametrize(
    "column", [[], [None], [1, 2], [1, None], [None, None, 1.5, "a", None, 0, None, None], [None] * 9 + [False]]
)
def test_a_column_that_is_mostly_none_is_kept_short_and_whole(column):
    assert unpacked(packed(column)) == column
    assert isinstance(packed(column), list) == (2 * column.count(None) <= len(column))


def test_probes_of_tuning_trials_are_not_kept(store):
    kept = {}
    for role in ("evaluation", "tuning"):
        rows = [Row(planned(record(0)).model_copy(update={"role": role}), record(0))]
        plan = {"suite": {"name": "s", "profile": "cpu", "probes": {"spectra": {}}}, "rows": []}
        write_reference(store, "s", "cpu", plan, rows)
        kept[role] = read_reference(store, "s", "cpu")[1][0].record
    assert kept["evaluation"].probes and not kept["tuning"].probes
    assert kept["evaluation"].metrics == kept["tuning"].metrics


@pytest.fixture
def committed(store):
    """The file of a reference of four rows, with two tables, of which the claims mention one."""
    tables = {
        "images": Table(columns=["image", "bits"], rows=[["a", 0.123456789], ["b", None]], about={"codec": "x"}),
        "unread": Table(columns=["n"], rows=[[1]]),
    }
    rows = [Row(planned(r), r) for r in (record(s, tables=tables) for s in range(4))]
    claims = [{"id": "c", "estimator": {"name": "bd_rate", "table": "images"}}]
    return write_reference(store, "s", "cpu", {"suite": {"name": "s", "profile": "cpu", "claims": claims}}, rows)


def test_tables_that_claims_mention_are_kept_to_the_last_digit(store, committed):
    _, rows = read_reference(store, "s", "cpu")
    assert set(rows[0].record.tables) == {"images"}
    assert rows[0].record.tables["images"].rows == [["a", 0.123456789], ["b", None]]
    assert rows[0].record.tables["images"].about == {"codec": "x"}


def swapped(lines):
    return [*lines[:2], lines[3], lines[2], *lines[4:]]


@pytest.mark.parametrize(("change", "told"), [
    (lambda lines: lines[:-1], r"s\.jsonl:1: damaged reference: it has 3 rows, 4 were written; restore it: git"),
    (lambda lines: [*lines, lines[-1]], r"s\.jsonl:1: .*it has 5 rows, 4 were written"),
    (lambda lines: [*lines[:-1], lines[-2]], r"s\.jsonl:5: .*its rows are not those that were written"),
    (swapped, r"s\.jsonl:5: .*its rows are not those that were written, or not in their order"),
    (lambda lines: lines[1:], r"s\.jsonl:1: damaged reference: KeyError"),
    (lambda lines: [], r"s\.jsonl:1: .*it is empty"),
    (lambda lines: [*lines[:2], lines[2].replace(b"1.5", b"0.5"), *lines[3:]], r"s\.jsonl:3: .*its content is not"),
    (lambda lines: [lines[0].replace(b'"s"', b'"t"'), *lines[1:]], r"s\.jsonl:1: .*its content is not"),
])  # fmt: skip
def test_a_reference_that_is_not_what_was_written_is_refused(store, committed, change, told):
    lines = committed.read_bytes().splitlines(keepends=True)
    committed.write_bytes(b"".join(change(lines)))
    with pytest.raises(StoreError, match=told):
        read_reference(store, "s", "cpu")


def test_a_reference_under_another_name_is_refused(store, committed):
    (store.root / "reference" / "gpu").mkdir()
    for path in (committed.with_name("t.jsonl"), store.root / "reference" / "gpu" / "s.jsonl"):
        path.write_bytes(committed.read_bytes())
    with pytest.raises(StoreError, match="its content is suite 's'"):
        read_reference(store, "t", "cpu")
    with pytest.raises(StoreError, match="its content is reference 'cpu'"):
        read_reference(store, "s", "gpu")


def test_a_reference_of_a_later_schema_is_refused(store, committed):
    head, *rest = committed.read_bytes().splitlines(keepends=True)
    committed.write_bytes(b"".join([sealed({**unsealed(head), "schema": 99}).encode(), *rest]))
    with pytest.raises(StoreError, match="its schema_version is 99"):
        read_reference(store, "s", "cpu")


def test_a_reference_of_schema_1_is_read_without_checksums(store, committed):
    _, expected = read_reference(store, "s", "cpu")
    head, *rest = [unsealed(line) for line in committed.read_bytes().splitlines(keepends=True)]
    lines = [{"plan": head["plan"], "shared": head["shared"]}, *rest]
    committed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert not is_checksummed(committed)
    assert read_reference(store, "s", "cpu") == (head["plan"], expected)

"""Records as bytes: what is written, and what is read of other schemas."""

import json

import pytest

from harness.errors import DamagedError
from harness.files import sealed, unsealed
from harness.records.encoding import MIGRATIONS, decode, encode
from harness.records.record import SCHEMA
from tests.records.conftest import record


def of_schema_1(r):
    """The record as the first schema wrote it: no checksum, no tables, no notes."""
    fields = r.model_dump(mode="json")
    for later in ("tables", "notes", "needs", "plugins", "verified"):
        del fields[later]
    return {**fields, "schema_version": 1}


def test_a_record_comes_back():
    assert decode(encode(record())) == record()


def test_a_record_of_schema_1_is_read_as_one_of_the_present():
    assert decode(json.dumps(of_schema_1(record())).encode()) == record()
    assert record().schema_version == SCHEMA


def test_each_older_schema_has_a_migration():
    assert set(MIGRATIONS) == set(range(1, SCHEMA))


def test_only_schema_1_may_lack_a_checksum():
    fields = record().model_dump(mode="json")
    with pytest.raises(DamagedError, match="it does not begin with its checksum"):
        decode(json.dumps(fields).encode())


@pytest.mark.parametrize("version", [99, 0, -1, "2", 2.0, True, None])
def test_other_versions_are_refused_in_a_sentence(version):
    fields = {**unsealed(encode(record())), "schema_version": version}
    with pytest.raises(DamagedError, match=rf"its schema_version is {version!r}, .* reads 1 to {SCHEMA}"):
        decode(sealed(fields).encode())


@pytest.mark.parametrize(("changes", "why"), [
    ({"status": "finished"}, "it is no record: status: "), ({"extra": 1}, "it is no record: extra: "),
    ({"trial": {}}, r"it is no record: trial\.workload: "),
])  # fmt: skip
def test_what_is_no_record_says_which_field(changes, why):
    with pytest.raises(DamagedError, match=why):
        decode(sealed({**unsealed(encode(record())), **changes}).encode())

import json

import pytest

from harness.errors import StoreError
from harness.records.accepted import accept, accepted, accepted_file
from tests.records.conftest import record


def test_accept_log_appends_and_is_checked(store):
    r = record()
    accept(store, [r], {r.identity: {"m": "2"}}, "only a rename")
    accept(store, [r], {r.identity: {"m": "3"}}, "again")
    assert sorted(accepted(store).values()) == ["again", "only a rename"]
    assert len(accepted_file(store).read_text().splitlines()) == 2
    assert json.loads(accepted_file(store).read_text().splitlines()[0])["reason"] == "only a rename"
    accepted_file(store).write_text("nonsense\n")
    with pytest.raises(StoreError, match=r"accepted\.jsonl:1"):
        accepted(store)

"""Specs: what is accepted, and what the errors say."""

from __future__ import annotations

from typing import Any

import pytest

from harness.data.spec import DataSpec, parse
from harness.errors import DataError, HarnessError, UnknownNameError


@pytest.mark.parametrize(("spec", "message"), [
    ({}, "give name .embedded corpora: python_sources., path or dataset"),
    ({"path": "a.txt", "dataset": "b"}, "path or dataset, not both"),
    ({"name": "python_source"}, "data.name: unknown embedded corpus .* Did you mean 'python_sources'"),
    ({"pth": "a.txt"}, "data: unknown key 'pth'. Did you mean 'path'"),
    ({"path": "a.txt", "tokenizer": "wordpiece"}, "key 'tokenizer': .*'bytes' or 'bpe'.* .got 'wordpiece'"),
    ({"path": "a.txt", "format": "csv"}, "key 'format': .*'text', 'jsonl', 'parquet' or 'bin'.*'csv'"),
    ({"path": "a.txt", "validation_share": 0}, "key 'validation_share': .*greater than 0 .got 0"),
    ({"path": "a.txt", "validation_share": 0.4, "test_share": 0.4}, "validation_share . test_share is above 0.5"),
    ({"path": "a.txt", "tokenizer": "bpe", "vocab_size": 256}, "vocab_size 256 is too small for bpe"),
    ({"path": "a.txt", "tokenizer": "bpe", "vocab_size": 70000}, "key 'vocab_size': .*65536 .got 70000"),
    ({"path": "a.txt", "split": "train"}, "key 'split' has no meaning for path"),
    ({"dataset": "a", "field": "text"}, "key 'field' has no meaning for dataset"),
    ({"name": "python_sources", "column": "text"}, "key 'column' has no meaning for an embedded corpus"),
    ({"name": "python_sources", "path": "a.txt"}, "'python_sources' is an embedded corpus; give the data at path"),
    ({"name": "python_sources", "vocab_size": 300}, "vocab_size is for tokenizer: bpe"),
    ({"name": "python_sources", "bytes_per_token": 4}, "bytes_per_token"),
    ({"path": 3}, "key 'path': .*string .got 3"),
])
def test_mistakes_are_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        parse(spec)
    assert isinstance(caught.value, DataError | UnknownNameError)


def test_every_field_is_documented() -> None:
    assert all(field.description for field in DataSpec.model_fields.values())


def test_labels_and_defaults_are_no_part_of_the_canonical_spec() -> None:
    assert parse({"path": "a.txt", "name": "mine", "tokenizer": "bytes"}).canonical() == {"path": "a.txt"}
    assert parse({"name": "python_sources", "test_share": 0.03}).canonical() == {"name": "python_sources"}
    assert parse({"path": "some/where/a.txt"}).label == "a.txt"

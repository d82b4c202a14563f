"""What data to use: the section ``data`` of a suite, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from harness.data import image_spec
from harness.data.image_spec import ImageSpec
from harness.data.source_spec import SourceSpec, check_shares
from harness.errors import DataError, unknown
from harness.validation import told

EMBEDDED = ("python_sources",)
"""Corpora that need no file of the user's."""

Format = Literal["text", "jsonl", "parquet", "bin"]
TokenType = Literal["uint8", "uint16", "uint32", "int32", "int64", "uint16_be", "int32_be", "int64_be"]
SUFFIXES: dict[str, Format] = {
    ".txt": "text", ".md": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".bin": "bin",
}
"""File suffix -> format, where the spec names none."""


class DataSpec(SourceSpec):
    """A corpus: embedded (``name``), the user's file or folder (``path``), or a data set (``dataset``)."""

    name: str | None = None
    """An embedded corpus (python_sources), or a label for the user's data."""
    path: str | None = None
    """A file, or a folder of files of one format; relative to the current folder."""
    dataset: str | None = None
    """A Hugging Face data set: its name, or a local folder that the library reads, or wrote by `save_to_disk`
    (needs `datasets`)."""

    format: Format | None = None
    """text, jsonl, parquet or bin (nanoGPT-style tokens); by default told from the suffix."""
    dtype: TokenType | None = None
    """bin: type of a token; _be is big-endian. Default: uint16; a file that looks like none is refused."""
    pattern: str | None = None
    """Which files of a folder, as a glob such as **/*.py; by default every file of the format's suffixes."""
    field: str | None = None
    """JSONL: the key that holds the text (default: text)."""
    column: str | None = None
    """Parquet and data sets: the column that holds the text (default: text)."""
    subset: str | None = None
    """Data sets: the configuration, where the data set has several."""
    revision: str | None = None
    """Data sets: commit or tag, so that the same bytes come back later."""
    split: str | None = None
    """Data sets: the split to read (default: train)."""

    validation: str | None = None
    """A file or folder (path) or a split (dataset) that is the validation split. Default: of a folder of bin files
    those whose names say val; else it is cut off."""
    test: str | None = None
    """A file or folder (path) or a split (dataset) that is the test split. Default: of a folder of bin files those
    whose names say test; else it is cut off."""
    validation_share: float = Field(default=0.03, gt=0, lt=0.5)
    """Share of the source cut off for validation, where `validation` is not given."""
    test_share: float = Field(default=0.03, gt=0, lt=0.5)
    """Share of the source cut off for the test, where `test` is not given."""
    split_by: Literal["documents", "position"] | None = None
    """documents: each document goes to a split by the hash of its content, so equal documents stay together;
    position: the end of the source is held out. Default: position for one text file and for bin, else
    documents."""

    duplicates: Literal["keep", "drop"] = "keep"
    """Documents equal to an earlier one of their source: kept, all in one split, or left out; counted anyhow."""
    invalid_utf8: Literal["error", "replace", "skip"] = "error"
    """Text that is not UTF-8: stop and say where, put U+FFFD, or leave the document out (counted)."""
    tokenizer: Literal["bytes", "bpe"] = "bytes"
    """bytes: 256 tokens; bpe: byte-level BPE trained on the train split."""
    vocab_size: int | None = Field(default=None, ge=1, le=65536)
    """bpe: tokens to train (default 4096, at least 257). bin: the vocabulary (default: largest token + 1)."""
    bytes_per_token: float | None = Field(default=None, gt=0)
    """bin: bytes of text behind a token, if known; else losses are not given in bits per byte."""

    @model_validator(mode="after")
    def _consistent(self) -> DataSpec:
        sources = self.sources()
        if not sources and self.name is None:
            raise ValueError("give name (embedded corpora: python_sources), path or dataset")
        source = sources[0] if sources else "an embedded corpus"
        if sources and self.name in EMBEDDED:
            raise ValueError(f"{self.name!r} is an embedded corpus; give the data at {source} another name")
        dataset_only = ("subset", "revision", "split")
        not_for = {
            "path": dataset_only, "dataset": ("format", "pattern", "field", "dtype"),
            "an embedded corpus": (
                *dataset_only, "format", "pattern", "field", "dtype", "column", "validation", "test"
            ),
        }[source]
        for key in not_for:
            if getattr(self, key) is not None:
                raise ValueError(f"key {key!r} has no meaning for {source}; remove it")
        if source != "path" or self.format not in (None, "bin"):
            if self.bytes_per_token is not None:
                raise ValueError("bytes_per_token is for bin files; for text it is measured; remove it")
            if self.vocab_size is not None and self.tokenizer == "bytes":
                raise ValueError("vocab_size is for tokenizer: bpe and for bin files; bytes have 256; remove it")
        if self.tokenizer == "bpe" and self.vocab_size is not None and self.vocab_size < 257:
            raise ValueError(f"vocab_size {self.vocab_size} is too small for bpe: 256 bytes and a separator, 257")
        check_shares(self.validation_share, self.test_share)
        return self

    def canonical(self) -> dict[str, Any]:
        """Fields that differ from their defaults, the label apart where it only labels."""
        fields = self.model_dump(exclude_defaults=True)
        if self.path is not None or self.dataset is not None:
            fields.pop("name", None)
        return fields


Spec = DataSpec | ImageSpec
S = TypeVar("S", bound=BaseModel)


def parse(spec: Mapping[str, Any] | Spec, where: str = "data") -> Spec:
    """A checked spec: of pictures where its format says so, else of a text.

    Raises UnknownNameError (key, embedded data) or DataError, naming key and value.
    """
    if isinstance(spec, Spec):
        return spec
    if spec.get("format") == image_spec.FORMAT:
        return _checked(ImageSpec, spec, where)
    parsed = _checked(DataSpec, spec, where)
    if parsed.path is None and parsed.dataset is None and parsed.name not in EMBEDDED:
        raise unknown("embedded corpus", str(parsed.name), EMBEDDED, f"{where}.name")
    return parsed


def _checked(model: type[S], spec: Mapping[str, Any], where: str) -> S:
    for key in spec:
        if key not in model.model_fields:
            raise unknown("key", str(key), model.model_fields, where)
    try:
        return model.model_validate(dict(spec))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        text = f"key {place!r}: {told(first)}" if place else told(first)
        raise DataError(f"{where}: {text}") from None

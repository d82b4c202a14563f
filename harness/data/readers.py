"""The user's data as documents: text files, JSONL, Parquet, Hugging Face data sets."""

from __future__ import annotations

import functools
import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.data import hub
from harness.data.compressed import BROKEN, COMPRESSED, format_of, is_compressed, opened
from harness.data.documents import BLOCK, Document, TextSource, checked_utf8, of_text
from harness.data.folders import files_below, look_of
from harness.data.spec import SUFFIXES, DataSpec, Format
from harness.errors import DataError

ROWS = 1024
"""Rows read at once."""


# --- which files -------------------------------------------------------------------------------------------


def resolve(spec: DataSpec, path: str) -> tuple[Format, list[Path]]:
    """(format, files in the order of their names) of a file or folder.

    Raises DataError: no such path, unknown suffix, a folder that is empty or of several formats.
    """
    root = Path(path).expanduser()
    known = f"{', '.join(sorted(SUFFIXES))}; of text and JSONL also with {', '.join(COMPRESSED)}"
    if root.is_file():
        if spec.pattern is not None and path == spec.path:
            raise DataError(f"data {path}: 'pattern' chooses files of a folder, and this is a file; remove it")
        chosen = spec.format or format_of(root)
        if chosen is None:
            raise DataError(f"data {path}: unknown suffix {root.suffix!r} (known: {known}); "
                            "give format: text, jsonl, parquet or bin")
        return chosen, [root]
    if not root.is_dir():
        raise DataError(f"data {path}: no such file or folder (in {Path.cwd()})")
    files = files_below(root, spec.pattern)
    if spec.pattern is None:
        wanted = (spec.format,) if spec.format else SUFFIXES.values()
        files = [f for f in files if format_of(f) in wanted]
    if not files and hub.is_saved(root):
        raise DataError(f"data {path}: a data set that save_to_disk wrote; give dataset: {path} instead of path")
    if not files:
        what = f"matches {spec.pattern!r}" if spec.pattern else f"ends in one of {known}"
        raise DataError(f"data {path}: no file in this folder {what}; give pattern (such as **/*.py) and format")
    if spec.format is not None:
        return spec.format, files
    found = Counter(map(format_of, files))
    if len(found) > 1 or None in found:
        counts = ", ".join(f"{n} {kind or 'of unknown suffix'}" for kind, n in sorted(found.items(), key=str))
        raise DataError(f"data {path}: files of several formats ({counts}); "
                        "give format, and pattern to choose files")
    return next(kind for kind in found if kind is not None), files


def files_state(spec: DataSpec) -> list[Any] | None:
    """How every file looks; None if the source is not here."""
    state: list[Any] = []
    for path in (spec.path, spec.validation, spec.test):
        if path is not None:
            if not Path(path).expanduser().exists():
                return None
            state += look_of(resolve(spec, path)[1])
    return state


def split_by(spec: DataSpec) -> str:
    """How documents are split where the spec leaves it open: one text file by position, else by documents."""
    if spec.split_by is not None:
        return spec.split_by
    if spec.path is not None and Path(spec.path).expanduser().is_file() and resolve(spec, spec.path)[0] == "text":
        return "position"
    return "documents"


def files_source(spec: DataSpec, path: str) -> TextSource:
    """The documents of a file or folder. Raises DataError for keys that its format does not have."""
    kind, files = resolve(spec, path)
    keys = {"text": (), "jsonl": ("field",), "parquet": ("column",)}
    if kind == "bin":
        raise DataError(f"data {path}: a bin file, but {spec.path} is not; the splits must have one format")
    for key in ("field", "column"):
        if getattr(spec, key) is not None and key not in keys[kind]:
            has = f"; {kind} has {keys[kind][0]!r}" if keys[kind] else ""
            raise DataError(f"data {path}: key {key!r} has no meaning for {kind}{has}")
    if spec.vocab_size is not None and spec.tokenizer == "bytes":
        raise DataError(f"data {path}: vocab_size is for tokenizer: bpe and for bin files; bytes have 256")
    if spec.bytes_per_token is not None:
        raise DataError(f"data {path}: bytes_per_token is for bin files; for {kind} it is measured; remove it")
    if spec.dtype is not None:
        raise DataError(f"data {path}: dtype is for bin files, and this is {kind}; remove it, or give format: bin")
    if path == spec.path:
        files = _without_held_out(spec, files)
    readers: dict[str, type[_Files]] = {"text": TextFiles, "jsonl": JsonLines, "parquet": ParquetFiles}
    return readers[kind](spec, path, files)


def _without_held_out(spec: DataSpec, files: list[Path]) -> list[Path]:
    """A folder's files without those that the spec holds out of it."""
    named = [name for name in (spec.validation, spec.test) if name is not None]
    held_out = {f.resolve() for name in named for f in resolve(spec, name)[1]}
    kept = [f for f in files if f.resolve() not in held_out]
    if not kept:
        raise DataError(f"data {spec.path}: all of its files are held out, as {' and '.join(named)}; give others")
    return kept


def own_split_source(spec: DataSpec, split: str) -> TextSource:
    """The source of a validation or test split that the spec names."""
    name = str(getattr(spec, split))
    return HubDataset(spec, name) if spec.dataset is not None else files_source(spec, name)


# --- sources -----------------------------------------------------------------------------------------------


class _Source:
    """Counts what it gives and what it drops."""

    def __init__(self, spec: DataSpec):
        self.rule = spec.invalid_utf8
        self.dropped: Counter[str] = Counter()
        self.replaced = 0

    def _start(self) -> None:
        self.dropped.clear()
        self.replaced = 0

    def _row(self, value: Any, where: str) -> Document | None:
        """A document from a row's value (str, bytes or None), or None if it is dropped."""
        if value is None or not value:
            self.dropped["empty"] += 1
            return None
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        try:
            text = b"".join(checked_utf8((raw,), self.rule, where))
        except UnicodeDecodeError:
            self.dropped["not UTF-8"] += 1
            return None
        self.replaced += text != raw
        return of_text(text)

    def _counts(self) -> dict[str, Any]:
        return {"dropped": dict(sorted(self.dropped.items())), "invalid_utf8": self.rule,
                "documents_with_replacements": self.replaced}


class _Files(_Source, ABC):
    kind: Format

    def __init__(self, spec: DataSpec, path: str, files: list[Path]):
        super().__init__(spec)
        self.path, self.files, self.spec = path, files, spec

    def total_bytes(self) -> int | None:
        return None if any(map(is_compressed, self.files)) else self._file_bytes()

    def _file_bytes(self) -> int:
        return sum(f.stat().st_size for f in self.files)

    def about(self) -> dict[str, Any]:
        return {"source": f"{self.kind} files", "path": Path(self.path).name, "files": len(self.files),
                "file_bytes": self._file_bytes(), **self._counts()}

    def documents(self) -> Iterator[Document]:
        self._start()
        for file in self.files:
            try:
                yield from self._read(file)
            except (OSError, *BROKEN) as error:
                raise DataError(f"{file}: not readable ({getattr(error, 'strerror', '') or error})") from None

    @abstractmethod
    def _read(self, file: Path) -> Iterator[Document]:
        """The documents of one file."""


class TextFiles(_Files):
    """Each file is a document, read in blocks."""

    kind = "text"

    def _read(self, file: Path) -> Iterator[Document]:
        raw, clean, size = hashlib.sha256(), hashlib.sha256(), 0
        try:
            for piece in checked_utf8(_blocks(file, raw), self.rule, str(file)):
                clean.update(piece)
                size += len(piece)
        except UnicodeDecodeError:
            self.dropped["not UTF-8"] += 1
            return
        if size == 0:
            self.dropped["empty"] += 1
            return
        self.replaced += raw.digest() != clean.digest()
        pieces = functools.partial(self._pieces, file)
        yield Document(clean.hexdigest(), size, pieces)

    def _pieces(self, file: Path) -> Iterator[bytes]:
        return checked_utf8(_blocks(file), self.rule, str(file))


def _blocks(file: Path, digest: Any = None) -> Iterator[bytes]:
    with opened(file) as handle:
        while block := handle.read(BLOCK):
            if digest is not None:
                digest.update(block)
            yield block


class JsonLines(_Files):
    """Each line is an object; its field is a document."""

    kind = "jsonl"

    def _read(self, file: Path) -> Iterator[Document]:
        field = self.spec.field or "text"
        with opened(file) as handle:
            for number, line in enumerate(handle, 1):
                where = f"{file}:{number}"
                if not line.strip():
                    continue
                try:
                    text = b"".join(checked_utf8((line,), self.rule, where))
                    row = json.loads(text.removeprefix(b"\xef\xbb\xbf"))
                except UnicodeDecodeError:
                    self.dropped["not UTF-8"] += 1
                    continue
                except ValueError as error:
                    raise DataError(f"{where}: not JSON ({error}); JSONL has one object a line") from None
                if not isinstance(row, dict):
                    raise DataError(f"{where}: a JSON {type(row).__name__}, not an object with the key {field!r}")
                if field not in row:
                    raise DataError(f"{where}: no key {field!r}; it has {', '.join(map(repr, row)) or 'none'}; "
                                    "give field")
                value = row[field]
                if value is not None and not isinstance(value, str):
                    raise DataError(f"{where}: {field!r} is {type(value).__name__}, not text; give another field")
                document = self._row(value, where)
                if document is not None:
                    yield document


class ParquetFiles(_Files):
    """Each row's column is a document, read in batches."""

    kind = "parquet"

    def _read(self, file: Path) -> Iterator[Document]:
        try:
            import pyarrow as arrow
            import pyarrow.parquet as parquet
        except ImportError:
            raise DataError(f"{file}: reading Parquet needs pyarrow; pip install pyarrow") from None

        column = self.spec.column or "text"
        try:
            with parquet.ParquetFile(file) as handle:
                schema = handle.schema_arrow
                if column not in schema.names:
                    raise DataError(f"{file}: no column {column!r}; it has {', '.join(schema.names)}; give column")
                kind = schema.field(column).type
                if arrow.types.is_dictionary(kind):
                    kind = kind.value_type
                if not (arrow.types.is_string(kind) or arrow.types.is_large_string(kind)
                        or arrow.types.is_string_view(kind)):
                    raise DataError(f"{file}: column {column!r} is {kind}, not text; give another column")
                for index, batch in enumerate(handle.iter_batches(ROWS, columns=[column])):
                    values = batch.column(0)
                    if arrow.types.is_dictionary(values.type):
                        values = values.dictionary_decode()
                    # As bytes: invalid UTF-8 is then met by our rule.
                    for row, value in enumerate(values.cast(arrow.large_binary()).to_pylist()):
                        document = self._row(value, f"{file}, row {index * ROWS + row}")
                        if document is not None:
                            yield document
        except arrow.ArrowException as error:
            raise DataError(f"{file}: not a readable Parquet file ({error})") from None


class HubDataset(_Source):
    """Each row's column of a data set that the `datasets` library loads (from the network or a folder)."""

    def __init__(self, spec: DataSpec, split: str):
        super().__init__(spec)
        self.spec, self.split, self.rows = spec, split, 0
        self.revision: str | None = spec.revision
        self._loaded: Any = None

    def _load(self) -> Any:
        if self._loaded is not None:
            return self._loaded
        spec, name = self.spec, str(self.spec.dataset)
        data = hub.load(name, spec.subset, self.split, spec.revision)
        column = spec.column or "text"
        kind = getattr(hub.column(data, name, column, "column"), "dtype", None)
        if kind not in ("string", "large_string"):
            raise DataError(f"dataset {self.spec.dataset!r}: column {column!r} is {kind or 'nested'}, not text; "
                            "give another column")
        self._loaded = data.select_columns([column])
        return self._loaded

    def total_bytes(self) -> int | None:
        return None

    def about(self) -> dict[str, Any]:
        return {"source": "data set", "dataset": self.spec.dataset, "subset": self.spec.subset,
                "revision": self.revision, "split": self.split, "rows": self.rows, **self._counts()}

    def documents(self) -> Iterator[Document]:
        data, column = self._load(), self.spec.column or "text"
        self._start()
        self.rows = 0
        for batch in data.iter(ROWS):
            for value in batch[column]:
                document = self._row(value, f"dataset {self.spec.dataset!r}, row {self.rows}")
                self.rows += 1
                if document is not None:
                    yield document

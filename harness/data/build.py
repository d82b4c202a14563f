"""Building a corpus: split, write, sync, rename. One process builds, the others wait for it.

Equal sources give equal bytes: no clock, path, locale or order of the file system enters the tokens.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data import hub, image_build, image_sources, readers, token_files
from harness.data.corpus import META, SPLITS, Corpus, open_corpus
from harness.data.documents import Document, TextSource, cut_after, split_of
from harness.data.duplicates import Distinct
from harness.data.image_spec import ImageSpec
from harness.data.overlap import also_in_train
from harness.data.python_sources import PythonSources, list_digest, read_list
from harness.data.spec import DataSpec, Spec, parse
from harness.data.staging import Progress, SplitWriter, Staging
from harness.errors import DamagedError, DataError
from harness.files import lock, sealed, unsealed, write_atomically
from harness.trial import digest as digest_of

INDEX_KEYS = frozenset({"digest", "spec", "state"})
SEPARATOR = b"\0"
"""Ends each document; token 0."""


def ensure(
    spec: Mapping[str, Any] | Spec, folder: Path, progress: Progress | None = None, force: bool = False
) -> Corpus:
    """The corpus of a spec: opened where it is built and its source is unchanged, else built.

    ``force`` builds again whatever is there. Raises DataError or UnknownNameError.
    """
    parsed, folder = parse(spec), Path(folder)
    corpus = _ensure(parsed, folder, progress, force)
    # Equal content may have been built under another label.
    return corpus if corpus.name == parsed.label else Corpus(corpus.path, {**corpus.meta, "name": parsed.label})


def _ensure(parsed: Spec, folder: Path, progress: Progress | None, force: bool) -> Corpus:
    key, state = spec_key(parsed), source_state(parsed)
    found = None if force else _lookup(folder, key, state)
    if found:
        return found
    with writable(folder), lock(folder / "locks" / key):
        found = None if force else _lookup(folder, key, state)
        if found:
            return found
        staging = Staging(folder, key)
        try:
            if isinstance(parsed, ImageSpec):
                corpus = image_build.build_images(parsed, staging, progress)
            elif parsed.tokenizer == "bpe":
                from harness.data.bpe import build_bpe

                of_bytes = parsed.model_copy(update={"tokenizer": "bytes", "vocab_size": None})
                base = _ensure(of_bytes, folder, progress, force=False)
                corpus = build_bpe(parsed, base, staging, progress)
            elif parsed.path is not None and readers.resolve(parsed, parsed.path)[0] == "bin":
                corpus = token_files.build_tokens(parsed, staging, progress)
            else:
                corpus = _build_text(parsed, _source(parsed), staging, progress)
        finally:
            staging.discard()
        write_index(folder, key, state, corpus.digest, parsed.canonical())
    return corpus


def built(spec: Mapping[str, Any] | Spec, folder: Path) -> str | None:
    """The digest of a spec's corpus where it is built and its source is unchanged; nothing is built.

    Raises DataError or UnknownNameError, also where the user's files are not here and no corpus of them is.
    """
    parsed, folder = parse(spec), Path(folder)
    state = source_state(parsed)
    found = _lookup(folder, spec_key(parsed), state)
    if found is None and state is None and parsed.path is not None:
        if isinstance(parsed, ImageSpec):
            image_sources.local(parsed)
        else:
            for name in filter(None, (parsed.path, parsed.validation, parsed.test)):
                readers.resolve(parsed, name)
    return found.digest if found else None


def build_source(spec: DataSpec, source: TextSource, folder: Path) -> Corpus:
    """A byte corpus from any text source, without an index entry."""
    staging = Staging(folder, "direct")
    try:
        return _build_text(spec, source, staging, None)
    finally:
        staging.discard()


# --- where a spec leads ------------------------------------------------------------------------------------


def spec_key(spec: Spec) -> str:
    """Name of a spec's index entries: equal specs, equal keys; labels and defaults are no part of it."""
    return digest_of(spec.canonical())[:32]


def source_state(spec: Spec) -> str | None:
    """What tells a changed source from an unchanged one, in hex; None if the source is not here."""
    state: Any
    if spec.dataset is not None:
        state = hub.state(spec.dataset, spec.revision)
    elif isinstance(spec, ImageSpec):
        state = image_sources.state(spec)
    elif spec.path is not None:
        state = readers.files_state(spec)
    else:
        state = list_digest()
    return None if state is None else digest_of(state)[:16]


def _lookup(folder: Path, key: str, state: str | None) -> Corpus | None:
    digests: set[str] = set()
    try:
        entries = list((folder / "index").glob(f"{key}-{state or '*'}.json"))
    except PermissionError as error:
        raise DataError(f"{error.filename}: cannot read ({error.strerror}); choose another data folder") from None
    for file in entries:
        with contextlib.suppress(OSError, DamagedError):
            digest = index_entry(file)["digest"]
            if (folder / "corpora" / digest / META).is_file():
                digests.add(digest)
    if len(digests) > 1:
        names = ", ".join(sorted(d[:12] for d in digests))
        raise DataError(
            f"data: the source is not here, and several corpora were built from it ({names}); restore the source, "
            f"or remove all but one below {folder / 'corpora'}"
        )
    return open_corpus(folder, digests.pop()) if digests else None


def index_entry(file: Path) -> dict[str, Any]:
    """What an entry of the index says: digest, spec, state. Raises DamagedError: then the spec builds again."""
    entry = unsealed(file.read_bytes(), old=INDEX_KEYS)
    if set(entry) != INDEX_KEYS or not re.fullmatch("[0-9a-f]{64}", str(entry["digest"])):
        raise DamagedError("it is no entry of the index")
    if file.name != _index_name(digest_of(entry["spec"])[:32], entry["state"]):
        raise DamagedError("its content belongs to another spec or state")
    return entry


def _index_name(key: str, state: str | None) -> str:
    return f"{key}-{state or 'unknown'}.json"


def write_index(folder: Path, key: str, state: str | None, digest: str, spec: Mapping[str, Any]) -> None:
    """Note atomically that this spec, its source in this state, is the corpus with this digest."""
    file = folder / "index" / _index_name(key, state)
    write_atomically(file, sealed({"digest": digest, "spec": dict(spec), "state": state}).encode())


def _source(spec: DataSpec) -> TextSource:
    if spec.dataset is not None:
        return readers.HubDataset(spec, spec.split or "train")
    if spec.path is not None:
        return readers.files_source(spec, spec.path)
    return PythonSources(read_list())


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn errors of the file system into a DataError that names the data folder."""
    try:
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise DataError(f"{error.filename or folder}: cannot write ({error.strerror}); choose a data folder "
                        "that is writable") from None
    except OSError as error:
        raise DataError(f"{folder}: building failed: {error}") from error


# --- text --------------------------------------------------------------------------------------------------


def _build_text(spec: DataSpec, origin: TextSource, staging: Staging, progress: Progress | None) -> Corpus:
    drop = spec.duplicates == "drop"
    source = Distinct(origin, drop)
    counts = dict.fromkeys(SPLITS, 0)
    report = _Reporter(progress, source.total_bytes() if progress else None)
    shares = {s: 0.0 if getattr(spec, s) else getattr(spec, f"{s}_share") for s in ("validation", "test")}
    split_by = readers.split_by(spec)
    if split_by == "position":
        _by_position(source, shares, staging, counts, report)
    else:
        for document in source.documents():
            _copy(document, staging.splits[split_of(document.sha256, **shares)], report)
            counts[split_of(document.sha256, **shares)] += 1
    about = {**source.about(), "split_by": split_by, "shares": shares}
    for split in ("validation", "test"):
        if getattr(spec, split):
            own = Distinct(readers.own_split_source(spec, split), drop)
            for document in own.documents():
                _copy(document, staging.splits[split], report)
                counts[split] += 1
            about[split] = own.about()
    about["documents"] = counts
    about["also_in_train"] = also_in_train(staging.files(), SEPARATOR)
    return staging.finish(spec, vocab_size=256, dtype="uint8", about=about)


class _Reporter:
    def __init__(self, progress: Progress | None, total: int | None):
        self._progress, self._total, self._done = progress, total, 0

    def add(self, num_bytes: int) -> None:
        self._done += num_bytes
        if self._progress:
            self._progress(self._done, self._total)


def _copy(document: Document, writer: SplitWriter, report: _Reporter) -> None:
    before = writer.num_bytes
    for piece in document.pieces():
        writer.write(piece)
    _unchanged(document, writer.num_bytes - before)
    writer.write(SEPARATOR)
    report.add(document.num_bytes)


def _unchanged(document: Document, num_bytes: int) -> None:
    if num_bytes != document.num_bytes:
        raise DataError("a file of the data changed while it was read; build again when nothing writes to it")


def _by_position(
    source: TextSource, shares: Mapping[str, float], staging: Staging, counts: dict[str, int], report: _Reporter
) -> None:
    """Train first, then validation, then test; cut after a line end where one is near."""
    total = sum(document.num_bytes + 1 for document in source.documents())
    first = int(total * (1 - shares["validation"] - shares["test"]))
    ends = [first, int(total * (1 - shares["test"])) if shares["test"] else total]
    if not shares["validation"]:
        ends[0] = ends[1]
    place, current = 0, 0
    for document in source.documents():
        read = 0
        for piece in document.pieces():
            read += len(piece)
            while piece:
                while current < 2 and place >= ends[current]:
                    current += 1
                cut = len(piece)
                if current < 2 and place + len(piece) > ends[current]:
                    cut = cut_after(piece, ends[current] - place)
                staging.splits[SPLITS[current]].write(piece[:cut])
                place += cut
                piece = piece[cut:]
        _unchanged(document, read)
        counts[SPLITS[current]] += 1
        staging.splits[SPLITS[current]].write(SEPARATOR)
        place += 1
        report.add(document.num_bytes)

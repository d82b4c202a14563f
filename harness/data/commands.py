"""``harness data list | build | export | import``."""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from harness.data import build as _build
from harness.data.corpus import DTYPES, META, META_KEYS, SPLITS, TOKENIZER, Corpus, content_digest, open_corpus
from harness.data.documents import BLOCK
from harness.data.integrity import members, verify
from harness.data.spec import parse
from harness.data.staging import Progress, publish
from harness.errors import DamagedError, DataError
from harness.files import atomic_file, sealed, sync, unsealed, write_atomically

INDEX = "index.json"
"""First member of an archive: which spec it answers."""
MAX_JSON = 64 << 20
"""Larger JSON members are refused."""


def list_corpora(folder: Path) -> list[dict[str, Any]]:
    """Every corpus below a data folder: name, digest, vocabulary, tokens, size, spec, and its state.

    A damaged one is listed with the reason in ``state`` instead of its numbers.
    """
    rows: list[dict[str, Any]] = []
    for path in sorted((Path(folder) / "corpora").glob("*")):
        try:
            corpus = open_corpus(folder, path.name)
        except DataError as error:
            rows.append({"name": "?", "digest": path.name, "state": f"damaged: {error}"})
            continue
        bytes_per_token = corpus.bytes_per_token
        rows.append({
            "name": corpus.name, "digest": corpus.digest, "state": "built", "built": corpus.meta["built"],
            "vocab_size": corpus.vocab_size,
            "bytes_per_token": bytes_per_token if bytes_per_token == bytes_per_token else None,
            "bytes_on_disk": sum(f.stat().st_size for f in path.iterdir()),
            "tokens": {s: corpus.num_tokens(s) for s in SPLITS}, "spec": corpus.spec,
        })
    return sorted(rows, key=lambda row: (row["name"], row["digest"]))


def build(
    spec: Mapping[str, Any], folder: Path, progress: Progress | None = None, force: bool = False
) -> Corpus:
    """The corpus of a spec, built if needed; ``force`` builds again. Raises DataError or UnknownNameError."""
    return _build.ensure(spec, Path(folder), progress, force)


def export(
    spec: Mapping[str, Any] | str, folder: Path, file: Path, progress: Progress | None = None
) -> Corpus:
    """Write a corpus to one compressed file (tar, xz), for a machine without its source.

    ``spec`` is a spec (built if needed), or the digest of a built corpus (its first 8 digits suffice).
    The corpus is verified first; the file appears when it is complete. Raises DataError.
    """
    folder, file = Path(folder), Path(file)
    corpus = _by_digest(spec, folder) if isinstance(spec, str) else _build.ensure(spec, folder, progress)
    verify(corpus)
    wanted = corpus.spec if isinstance(spec, str) else parse(spec).canonical()
    state = _build.source_state(parse({**wanted}))
    index = {"digest": corpus.digest, "spec": wanted, "state": state}
    try:
        # Preset 1: 24 MB in 12 s for the embedded corpus; 6, the default, 19 MB in two minutes.
        with atomic_file(file) as out, tarfile.open(fileobj=out, mode="w:xz", preset=1) as archive:
            text = sealed(index).encode()
            archive.addfile(_member(INDEX, len(text)), io.BytesIO(text))
            files = [corpus.path / name for name in members(corpus.meta)]
            done, total = 0, sum(f.stat().st_size for f in files)
            for member in files:
                with member.open("rb") as handle:
                    archive.addfile(_member(member.name, member.stat().st_size), handle)
                done += member.stat().st_size
                if progress:
                    progress(done, total)
    except OSError as error:
        raise DataError(f"{file}: cannot write ({error.strerror or error})") from None
    return corpus


def import_(file: Path, folder: Path) -> Corpus:
    """Unpack a file that ``export`` wrote, verify every byte, and let its spec lead to it here.

    Only the members that a corpus has are accepted, as plain files of the announced sizes, so an archive
    cannot write anywhere else. Raises DataError: not an archive, cut off, altered, or of another format.
    """
    file, folder = Path(file), Path(folder)
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    with _build.writable(folder):
        (folder / "building").mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix="import-", dir=folder / "building"))
        try:
            with tarfile.open(file, "r:xz") as archive:
                index, meta = _unpack(archive, place, file)
            spec = parse(index["spec"], f"{file}: spec")
            corpus = publish(place, folder, meta["digest"])
            _build.write_index(folder, _build.spec_key(spec), index["state"], corpus.digest, spec.canonical())
        except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
            raise DataError(
                f"{file}: not a whole archive of `harness data export` ({error}); copy it again"
            ) from None
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return corpus


def _unpack(archive: tarfile.TarFile, place: Path, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    index = _object(archive, INDEX, _build.INDEX_KEYS, file)
    meta = _object(archive, META, META_KEYS, file)
    try:
        sizes = {f"{s}.bin": meta["splits"][s]["tokens"] * DTYPES[meta["dtype"]].itemsize for s in SPLITS}
        hashes = {f"{s}.bin": meta["splits"][s]["sha256"] for s in SPLITS}
        consistent = content_digest(meta) == meta["digest"] == index["digest"]
        state = index["state"]
        # The state becomes part of a file name.
        if not isinstance(index["spec"], dict) or not (state is None or re.fullmatch("[0-9a-f]{16}", state)):
            raise ValueError(f"{INDEX} is malformed")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: not a corpus ({type(error).__name__}: {error})") from None
    if not consistent:
        raise DataError(f"{file}: altered: its content is not that of corpus {str(index['digest'])[:12]}")
    if TOKENIZER in members(meta):
        hashes[TOKENIZER] = meta["tokenizer"]
    write_atomically(place / META, sealed(meta).encode())
    for name in members(meta)[1:]:
        member = _next(archive, name, file)
        if member.size > MAX_JSON if name == TOKENIZER else member.size != sizes[name]:
            raise DataError(f"{file}: {name} has {member.size:,} bytes, not what its meta.json says")
        source = archive.extractfile(member)
        assert source is not None
        found = hashlib.sha256()
        with (place / name).open("wb") as out:
            while block := source.read(BLOCK):
                found.update(block)
                out.write(block)
            sync(out)
        if found.hexdigest() != hashes[name]:
            raise DataError(f"{file}: {name} was altered: its SHA-256 is not the recorded one; export it again")
    if (extra := archive.next()) is not None:
        raise DataError(f"{file}: unexpected member {extra.name!r}; not written by `harness data export`")
    return index, meta


def _next(archive: tarfile.TarFile, name: str, file: Path) -> tarfile.TarInfo:
    member = archive.next()
    if member is None:
        raise DataError(f"{file}: cut off: {name} is missing; copy it again")
    if member.name != name or not member.isreg():
        kind = "" if member.isreg() else " (not a plain file)"
        raise DataError(f"{file}: unexpected member {member.name!r}{kind}, {name} expected; "
                        "not written by `harness data export`")
    return member


def _object(archive: tarfile.TarFile, name: str, old: Collection[str], file: Path) -> dict[str, Any]:
    member = _next(archive, name, file)
    if member.size > MAX_JSON:
        raise DataError(f"{file}: {name} has {member.size:,} bytes; not written by `harness data export`")
    source = archive.extractfile(member)
    assert source is not None
    try:
        return unsealed(source.read(), old=old)
    except DamagedError as error:
        raise DataError(f"{file}: {name}: {error}; export it again") from None


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def _by_digest(start: str, folder: Path) -> Corpus:
    names = sorted(p.name for p in (folder / "corpora").glob("*"))
    found = [n for n in names if n.startswith(start)] if len(start) >= 8 else []
    if len(found) != 1:
        listed = ", ".join(n[:12] for n in names) or "none"
        raise DataError(f"no corpus with a digest that starts with {start!r} in {folder}; built: {listed}")
    return open_corpus(folder, found[0])

"""Byte-level BPE over a built byte corpus (the `tokenizers` library)."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.data.corpus import SPLITS, TOKENIZER, Corpus
from harness.data.documents import cut_after
from harness.data.spec import DataSpec
from harness.data.staging import Progress, Staging
from harness.errors import DataError

DEFAULT_VOCAB = 4096
SEPARATOR = "<|separator|>"
"""Token 0, between documents, as byte 0 is in the byte corpus."""
TRAINING_BYTES = 16 << 20
"""The tokenizer is trained on at most the first 16 MiB of the train split."""
BLOCK = 1 << 20
"""Bytes read at once."""
CHUNK = 1 << 16
"""Longer documents are encoded in pieces of about this many bytes, cut after line ends."""
BATCH = 64
"""Pieces encoded at once."""


def build_bpe(spec: DataSpec, base: Corpus, staging: Staging, progress: Progress | None) -> Corpus:
    """Train a tokenizer on the base's train split and encode all splits; bytes are counted as in the base."""
    try:
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers, trainers
    except ImportError:
        raise DataError("tokenizer bpe: needs the tokenizers library; pip install tokenizers") from None
    if base.meta["tokenizer"] != "bytes":
        raise DataError(f"data {spec.label!r}: bin files hold tokens already; remove tokenizer: bpe")
    vocab_size = spec.vocab_size or DEFAULT_VOCAB
    tokenizer: Any = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[SEPARATOR], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    train = base.split("train")[:TRAINING_BYTES]
    tokenizer.train_from_iterator((c for c in _chunks(train) if c is not None), trainer)
    actual = tokenizer.get_vocab_size()
    if actual < vocab_size:
        raise DataError(f"data {spec.label!r}: this text gives only {actual:,} BPE tokens, vocab_size is "
                        f"{vocab_size:,}; give a smaller vocab_size or more text")
    tokenizer.save(str(staging.path / TOKENIZER))

    done, total = 0, sum(base.num_tokens(s) for s in SPLITS)
    separator = np.array([0], "<u2").tobytes()
    for split in SPLITS:
        writer = staging.splits[split]
        for batch in _batches(_chunks(base.split(split))):
            text = [chunk for chunk in batch if chunk is not None]
            encoded = iter(tokenizer.encode_batch_fast(text, add_special_tokens=False))
            for chunk in batch:
                if chunk is None:
                    writer.write(separator)
                    done += 1
                else:
                    writer.write(np.asarray(next(encoded).ids, "<u2").tobytes())
                    done += len(chunk)
            if progress:
                progress(min(done, total), total)
    saved = (staging.path / TOKENIZER).read_bytes()
    about = {**base.about, "base": base.digest, "bpe": {
        "vocab_size": vocab_size, "trained_on_bytes": len(train),
        "tokenizers": importlib.metadata.version("tokenizers"),
    }}
    num_bytes: dict[str, int | None] = {s: base.num_tokens(s) for s in SPLITS}
    return staging.finish(spec, vocab_size=vocab_size, dtype="uint16", about=about, num_bytes=num_bytes,
                          tokenizer=hashlib.sha256(saved).hexdigest())


def _chunks(split: np.ndarray) -> Iterator[str | None]:
    """The text of a byte split in pieces, and None for each separator."""
    rest = b""
    for start in range(0, len(split), BLOCK):
        *documents, rest = (rest + split[start : start + BLOCK].tobytes()).split(b"\0")
        for document in documents:
            while document:
                piece, document = _cut(document)
                yield piece
            yield None
        while len(rest) > 2 * CHUNK:
            piece, rest = _cut(rest)
            yield piece
    while rest:
        piece, rest = _cut(rest)
        yield piece


def _cut(text: bytes) -> tuple[str, bytes]:
    """(a piece from the front, the rest). What is not UTF-8 (some Python sources) is U+FFFD in the piece."""
    end = cut_after(text, CHUNK) if len(text) > CHUNK else len(text)
    return text[:end].decode("utf-8", "replace"), text[end:]


def _batches(chunks: Iterator[str | None]) -> Iterator[list[str | None]]:
    batch: list[str | None] = []
    for chunk in chunks:
        batch.append(chunk)
        if len(batch) == 2 * BATCH:
            yield batch
            batch = []
    if batch:
        yield batch

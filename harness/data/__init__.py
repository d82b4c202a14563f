"""Data: corpora that are built once, identified by the digest of their content, and memory-mapped."""

from harness.data.corpus import SPLITS, Corpus, digest, load, open_corpus

__all__ = ["SPLITS", "Corpus", "digest", "load", "open_corpus"]

"""Trials here read the corpus in memory."""

from __future__ import annotations

import pytest
import torch

from harness.data import corpus
from tests.workloads.tiny import TinyCorpus


@pytest.fixture(autouse=True)
def tiny_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(corpus, "load", lambda *args, **kwargs: TinyCorpus())

"""Profile `paper` builds the models that it names."""

from __future__ import annotations

import pytest

from harness.planning.compose import load
from harness.planning.merging import merged
from harness.workloads.language_model import Config

UNITS = {"M": 1e6, "B": 1e9}


@pytest.mark.parametrize("suite_name", ["muon_scaling", "effective_rank"])
def test_each_size_of_2502_16982_has_its_published_parameters_to_5_percent(suite_name: str) -> None:
    suite = load(suite_name, "paper")
    found = {}
    for cell, patch in suite.cells("adamw"):
        model = Config.model_validate(merged(merged(suite.base, patch), suite.arms["adamw"].patch)).model
        found[cell["size"]] = model
    assert list(found) == ["399M", "545M", "822M", "1.1B", "1.5B"]
    for label, model in found.items():
        published = float(label[:-1]) * UNITS[label[-1]]
        assert model.size(0).matrix_parameters == pytest.approx(published, rel=0.05), label
        # Heads of 128 as published, and a feed-forward that fills a GPU's tiles.
        assert model.width // model.head_width == model.depth
        assert model.feed_forward_width % 256 == 0


@pytest.mark.parametrize(
    ("arm", "size", "published"), [("dyt_adamw", "gpt2_124M", 124e6), ("dyt_wide_adamw", "llama_7B", 6.74e9)]
)
def test_norm_ablations_paper_sizes_are_those_named(arm: str, size: str, published: float) -> None:
    """Published counts hold the embedding: GPT-2's, tied, of 50,257 tokens, and the LLaMA's two of 32,000."""
    suite = load("norm_ablation", "paper")
    cells = {cell["size"]: patch for cell, patch in suite.cells(arm)}
    assert list(cells) == [size]
    config = Config.model_validate(merged(merged(suite.base, cells[size]), suite.arms[arm].patch))
    embedding = config.model.width * {"gpt2_124M": 50_257 + 1024, "llama_7B": 2 * 32_000}[size]
    assert config.model.size(0).matrix_parameters + embedding == pytest.approx(published, rel=0.005)
    assert config.tokens_per_step == pytest.approx({"gpt2_124M": 491_520, "llama_7B": 4e6}[size], rel=0.05)

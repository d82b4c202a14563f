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

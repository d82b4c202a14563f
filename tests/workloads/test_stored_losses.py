"""Tiny trials against their losses as stored: a change that should change no number changes none.

Where a change is meant to change numbers, store them anew in its commit:

    python -m tests.workloads.test_stored_losses
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.data import corpus
from harness.determinism import make_deterministic
from harness.environment import numerics_class
from harness.workload import Outcome
from tests.workloads import tiny

FILE = Path(__file__).with_name("stored_losses.json")

TRIALS: dict[str, dict[str, Any]] = {
    "adamw": {"model": {"zero_readout": True}, "training": {"warmup_share": 0.25}},
    "muon": {
        "optimizer": {"name": "muon", "lr": 0.02}, "parametrization": {"name": "mup"},
        "model": {"base_width": 8, "base_depth": 1},
    },
    "swiglu": {
        "model": {"feed_forward": "swiglu", "qk_norm": False, "zero_query": True}, "norm": {"name": "layernorm"},
        "training": {"schedule": "cosine", "gradient_accumulation": 2, "clip_norm": None},
    },
    "bfloat16": {"optimizer": {"name": "muon", "lr": 0.02}, "compute": {"dtype": "bfloat16"}},
}


def losses(outcome: Outcome) -> dict[str, list[float | None]]:
    """What is stored of a trial: every step's training loss, the validation curve, the test loss."""
    curves = {name: outcome.curves[name].values for name in ("train_loss", "validation_loss")}
    return {**curves, "test_loss": [outcome.metrics["test_loss"]]}


def tolerance(sections: dict[str, Any]) -> float:
    """Relative, on another class of numerics, where rounding differs and training carries it on.

    Half the digits of float32; a rounding of bfloat16, where activations have no more. Other instruction sets of
    one machine gave 1e-7, 6e-5 under Muon (whose products are bfloat16) and 1e-3.
    """
    bfloat16 = sections.get("compute", {}).get("dtype") == "bfloat16"
    return torch.finfo(torch.bfloat16).eps if bfloat16 else torch.finfo(torch.float32).eps ** 0.5


@pytest.mark.parametrize("name", TRIALS)
def test_losses_are_those_stored(name: str, tmp_path: Path) -> None:
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    found, expected = losses(tiny.run(tmp_path, **TRIALS[name])), stored["losses"][name]
    if stored["numerics_class"] == numerics_class():
        assert found == expected
    else:
        for key, values in expected.items():
            assert found[key] == pytest.approx(values, rel=tolerance(TRIALS[name])), key


def store() -> None:
    """Write the losses of this code on this machine."""
    make_deterministic()
    corpus.load = lambda *args, **kwargs: tiny.TinyCorpus()  # type: ignore[assignment,return-value]
    found = {}
    for name, sections in TRIALS.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = losses(tiny.run(Path(folder), **sections))
    text = json.dumps({"numerics_class": numerics_class(), "losses": found}, indent=1)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    store()

"""Records of a trial that never was, and a store to put them in."""

import math

import pytest

from harness.outcome import Curve, Table
from harness.records.record import Planned, Record
from harness.records.store import Store
from harness.trial import Trial


def record(seed=0, **changes):
    fields = {
        "trial": Trial(workload="w", config={"a": 1}, seed=seed),
        "status": "completed",
        "metrics": {"test_loss": 1.5, "bad": math.inf},
        "fingerprint": {"m": "1"},
        "numerics_class": "c",
        "curves": {"train_loss": Curve(steps=list(range(500)), values=[1 / 3] * 499 + [None])},
        "probes": {"spectra": Table(columns=["step", "value"], rows=[[0, 1.23456789012]])},
        "seconds": {"total": 1.0},
        "environment": {"python": "3"},
    }
    return Record.model_validate({**fields, **changes})


def planned(r, **changes):
    return Planned.model_validate(
        {
            "trial": r.trial,
            "suite": "s",
            "profile": "cpu",
            "arm": "adamw",
            "cell": {"size": "d24"},
            "hyperparameters": {"optimizer.lr": 0.5},
            **changes,
        }
    )


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    s = Store(tmp_path)
    s.prepare()
    return s

"""Trials tables for the tests: two arms over sizes and seeds, as records would give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import lookup
from harness.analysis.estimate import Estimate
from harness.analysis.evidence import Evidence
from harness.workload import Metric

METRICS = {
    "test_loss": Metric(label="test loss", unit="nats", cap="trivial_loss"),
    "validation_loss": Metric(label="validation loss", unit="nats", cap="trivial_loss"),
    "trivial_loss": Metric(label="trivial loss", unit="nats"),
    "max_violation": Metric(label="largest load violation"),
}
"""A workload's metrics, as far as these tables hold them."""
SIZES = ("d24", "d28", "d32", "d40", "d48", "d64")


def evidence(trials: pd.DataFrame, **fields: Any) -> Evidence:
    """These trials as a suite of model sizes, or of widths, would give them to an estimator."""
    axis = next(a for a in ("size", "width") if a in trials.columns)
    return Evidence(**{"trials": trials, "size_axis": axis, "metrics": METRICS, "claim": "c", **fields})


def estimate(table: pd.DataFrame, name: str, probes=None, curves=None, tables=None, **arguments: Any) -> Estimate:
    """What the named estimator says of these trials."""
    found = evidence(table, probes=probes, curves=curves, tables=tables)
    return lookup.run(found, {"name": name, **arguments})


def trials(
    arms: dict[str, float] | None = None,
    sizes: tuple[str, ...] = SIZES,
    seeds: int = 3,
    sd: float = 0.03,
    rng: np.random.Generator | None = None,
    **columns: Any,
) -> pd.DataFrame:
    """Losses .9 + 1.64 (C / ratio)^-.174 over 1.7 decades; ``arms``: name -> compute ratio."""
    arms = {"adamw": 1.0, "muon": 0.6} if arms is None else arms
    rng = np.random.default_rng(0) if rng is None else rng
    rows = []
    for i, size in enumerate(sizes):
        compute = 1e12 * 10 ** (1.7 * i / max(len(sizes) - 1, 1))
        for arm, ratio in arms.items():
            for seed in range(seeds):
                rows.append(
                    {
                        "suite": "muon_scaling",
                        "profile": "cpu",
                        "arm": arm,
                        "role": "evaluation",
                        "seed": seed,
                        "status": "completed",
                        "identity": f"{arm}-{size}-{seed}",
                        "numerics_class": "cpu",
                        "selected": True,
                        "at_edge": False,
                        "size": size,
                        "test_loss": 0.9 + 1.64 * (compute / 1e12 / ratio) ** -0.174 + sd * rng.standard_normal(),
                        "trivial_loss": np.log(256),
                        "flops": compute,
                        "flops_model": compute,
                        "flops_optimizer": 0.01 * compute,
                        "parameters": 14e3 * 2.0**i,
                        "tokens": 280e3 * 2.0**i,
                    }
                )
    return pd.DataFrame(rows).assign(**columns)


def claim(**fields: Any) -> dict[str, Any]:
    """A claim about the compute ratio, with these fields changed."""
    return {
        "says": "Muon reaches AdamW's loss with less compute.",
        "source": "arXiv 2502.16982",
        "kind": "direction",
        "made_at": {"parameters": [399e6, 1.5e9], "tokens": [8.9e9, 38.9e9]},
        "estimator": {"name": "compute_ratio", "arm": "muon", "baseline": "adamw"},
        "expects": {"below": 1},
        "confirmatory": True,
        "published": 0.52,
        **fields,
    }


def sweep(
    slopes: dict[str, float],
    widths: tuple[int, ...] = (32, 64, 128, 256),
    seeds: int = 3,
    sd: float = 0.02,
    grid: tuple[float, float, float] = (-14, -1, 1.0),
    seed: int = 0,
    curvature: float = 0.045,
) -> pd.DataFrame:
    """Losses on a grid of learning rates; the optimum moves by ``slope`` octaves per octave of width."""
    rng = np.random.default_rng(seed)
    rows = []
    for arm, slope in slopes.items():
        for width in widths:
            best = -7.3 + slope * (np.log2(width) - 6)
            for s in range(seeds):
                noise = sd * rng.standard_normal()
                for x in np.arange(*grid):
                    loss = 3.0 - 0.2 * np.log2(width / 32) + curvature * (x - best) ** 2
                    rows.append(
                        {
                            "suite": "mup_transfer",
                            "profile": "cpu",
                            "arm": arm,
                            "role": "evaluation",
                            "seed": s,
                            "status": "completed",
                            "identity": f"{arm}-{width}-{s}-{x}",
                            "numerics_class": "cpu",
                            "selected": False,
                            "width": width,
                            "optimizer.lr": 2.0**x,
                            "trivial_loss": np.log(256),
                            "validation_loss": loss + noise + 0.3 * sd * rng.standard_normal(),
                        }
                    )
    return pd.DataFrame(rows)

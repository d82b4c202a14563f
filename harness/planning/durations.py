"""How long trials will take, from their FLOPs and the records of trials that ran."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness.planning.states import Item
from harness.records.record import RecordSet
from harness.trial import Trial

LEAST_GROWTH = 0.6
"""Least exponent of time over FLOPs beyond the largest known trial: wider models use a machine better (0.6 to 0.7
was measured from width 16 to 56), and short trials are mostly overhead, so a plain ratio says hours for minutes."""
UNKNOWN_RATE = {"cpu": 4e9, "cuda": 5e13}
"""FLOP/s assumed of a device kind until there are records of it: one CPU thread, one GPU, on small models."""


def estimate_seconds(items: Sequence[Item], records: RecordSet) -> list[float]:
    """Seconds each trial will take: interpolated over FLOPs (log-log) from this store's records of its device kind.

    Beyond the largest known trial time grows as among the known ones, at most in proportion.
    """
    known: dict[str, list[tuple[float, float]]] = {}
    for of_trial in records.by_identity.values():
        for r in of_trial:
            flops, seconds = r.metrics.get("flops"), r.seconds.get("total")
            if r.status == "completed" and flops and seconds:
                known.setdefault(device_of(r.trial), []).append((flops, seconds))
    out = []
    curves = {device: _duration_curve(points) for device, points in known.items()}
    for item in items:
        device = device_of(item.planned.trial)
        if device in curves:
            out.append(curves[device](max(item.flops, 1.0)))
        else:
            out.append(1.0 + item.flops / UNKNOWN_RATE.get(device, UNKNOWN_RATE["cpu"]))
    return out


def _duration_curve(points: list[tuple[float, float]]) -> Callable[[float], float]:
    import numpy as np

    x, y = np.log(np.array(sorted(points))).T
    spread = float(((x - x.mean()) ** 2).sum())
    growth = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 1.0
    growth = min(max(growth, LEAST_GROWTH), 1.0)

    def seconds(flops: float) -> float:
        wanted = math.log(flops)
        return math.exp(float(np.interp(wanted, x, y)) + growth * max(0.0, wanted - float(x[-1])))

    return seconds


def device_of(trial: Trial) -> str:
    """Device kind of a trial: cpu or cuda."""
    return str(trial.config.get("compute", {}).get("device", "cpu"))

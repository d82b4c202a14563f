"""Names in a reader's words, with units: a metric's as its workload declares it, other columns' from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.workload import Metric

_COLUMNS = {
    "optimizer.lr": "learning rate",
    "log2_lr": "log2 learning rate",
    "seconds_per_step": "time per step (s)",
    "half_width_95": "half-width of 95 % interval",
    "num_missing": "diverged or missing",
    "num_diverged": "diverged",
    "svd_entropy": "normalised SVD entropy",
    "mean_abs": "mean |x|",
    "change": "sd of the activations' change",
    "rms_change": "RMS of the activations' change",
    "n": "seeds",
    "sd": "seed sd",
    "p_holm": "p (Holm)",
}
"""Columns that no workload declares: hyperparameters, what probes derive, heads of tables."""
_ABBREVIATIONS = {"lr": "LR", "flops": "FLOPs", "psnr": "PSNR", "rms": "RMS", "svd": "SVD"}


def name(column: object) -> str:
    """A column's bare name in words."""
    words = str(column).replace(".", " ").replace("_", " ").split()
    return " ".join(_ABBREVIATIONS.get(w.lower(), w) for w in words)


def listed(words: Iterable[Any], most: int = 12) -> str:
    """``a, b and c``; long lists are cut with their number."""
    items = [str(w) for w in words]
    if len(items) > most:
        items = [*items[:most], f"{len(items) - most} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the columns of one suite's frames hold."""

    metrics: Mapping[str, Metric] = field(default_factory=dict)
    """Metric -> what the suite's workload declares of it."""
    statistics: Mapping[str, str] = field(default_factory=dict)
    """Value of a probe's column -> what it is, as the probe's tables say."""

    def label(self, column: object) -> str:
        """What a column holds, with its unit: for axes and heads of tables."""
        key = str(column)
        if (metric := self.metrics.get(key)) is not None:
            return f"{metric.label} ({metric.unit})" if metric.unit else metric.label
        return _COLUMNS.get(key) or self.statistics.get(key) or name(key)

    def quantity(self, column: object) -> str:
        """What a column holds, for a sentence: without its unit and what its label has in brackets."""
        metric = self.metrics.get(str(column))
        return (metric.label if metric else self.label(column)).partition(" (")[0]

    def shown(self) -> list[str]:
        """Metrics that the workload wants in tables of results, the main one first."""
        return [key for key, metric in self.metrics.items() if metric.shown]

    def cap(self, metric: str) -> str | None:
        """The column whose value a diverged trial counts with in this metric, if there is one."""
        declared = self.metrics.get(metric)
        return declared.cap if declared else None

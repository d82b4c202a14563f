"""Figures: each kind is a pure function of frames and options, registered by name."""

from harness.report.figures import curves, loss, probes, transfer
from harness.report.figures.common import Drawing, Frames, MissingData, draw, kinds

__all__ = ["Drawing", "Frames", "MissingData", "curves", "draw", "kinds", "loss", "probes", "transfer"]

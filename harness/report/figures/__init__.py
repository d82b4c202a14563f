"""Figures: each kind is a pure function of frames and options, registered by name."""

from harness.report.figures import curves, loss, probes, transfer
from harness.report.figures.common import Drawing, Frames, MissingDataError, draw, kinds, relaid

KIND_MODULES = (curves, loss, probes, transfer)
"""Importing them registers their kinds."""

__all__ = ["KIND_MODULES", "Drawing", "Frames", "MissingDataError", "draw", "kinds", "relaid"]

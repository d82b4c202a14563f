"""Figures: each kind is a pure function of frames and options, registered by name; its file is found here."""

import importlib
import pkgutil

from harness.report.figures.registry import Drawing, check_options, draw, kinds, relaid
from harness.report.frames import Frames, MissingDataError

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

__all__ = ["Drawing", "Frames", "MissingDataError", "check_options", "draw", "kinds", "relaid"]

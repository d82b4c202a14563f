"""Figures: each kind is a pure function of frames and options, registered by name; its file is found here."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from typing import Any

from harness.errors import HarnessError
from harness.report.figures.registry import Drawing, check_options, draw, kinds, relaid
from harness.report.frames import Frames, MissingDataError

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")



def problems(figures: Iterable[Mapping[str, Any]], where: str) -> list[str]:
    """What is wrong with the figures that a suite names, in words; ``where`` names the suite."""
    out = []
    for figure in figures:
        options = {k: v for k, v in figure.items() if k != "kind"}
        try:
            check_options(str(figure.get("kind")), options, f"{where}: figures")
        except HarnessError as error:
            out.append(str(error))
    return out


__all__ = ["Drawing", "Frames", "MissingDataError", "check_options", "draw", "kinds", "problems", "relaid"]

"""Codecs that read what a denoiser left: two workloads, the plug-in that brings them, and a suite over them."""

from pathlib import Path
from typing import Any

import yaml

from harness.planning.suite import Suite

FOLDER = Path(__file__).parent
PLUGIN = FOLDER / "needing_plugin.py"
FILE = FOLDER / "codecs.yaml"
CODECS: dict[str, Any] = {
    **{k: v for k, v in yaml.safe_load(FILE.read_text()).items() if k != "profiles"},
    "name": "codecs",
    "file": "codecs.yaml",
}


def codecs(**changes: Any) -> Suite:
    """The suite; 2 denoisers, 8 trials of each of two codecs that read one, 4 of a codec that reads none."""
    return Suite.model_validate({**CODECS, **changes})

"""One report of the synthetic run, built once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.report.build import build_report
from tests.report import synthetic


@pytest.fixture(scope="session")
def inputs() -> dict[str, Any]:
    return synthetic.everything()


@pytest.fixture(scope="session")
def built(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_report(tmp_path_factory.mktemp("report") / "cpu", **inputs)

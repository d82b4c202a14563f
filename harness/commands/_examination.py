"""What this machine can run, how long it will take, and what is missing: by a measured probe of a few seconds."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

from harness.environment import measure
from harness.errors import HarnessError
from harness.planning import compose
from harness.planning.plan import make_plan
from harness.planning.suite import PROFILES, Suite
from harness.records.record import RecordSet

PROBE_FLOPS_PER_TOKEN = 6 * (12 * 64**2 * 2 + 64 * 256) + 12 * 2 * 64 * 128
"""Training FLOPs a token of the probe's model: two layers of width 64, 256 bytes, context 128."""
OPTIONAL = {
    "datasets": ("Hugging Face data sets", "pip install 'method-harness[datasets]'"),
    "ray": ("clusters", "pip install 'method-harness[ray]'"),
}
GPU_HEADROOM = 1.5
"""A GPU profile may take this much longer than its budget and still be the default."""


def examine(results: Path = Path("results")) -> dict[str, Any]:
    """Measurements, versions, an estimate for every suite and profile, and what is missing."""
    folder = results if results.is_dir() else Path()
    measured = measure(folder)
    profiles = [_estimate(suite, measured) for profile in PROFILES for suite in _with(profile)]
    return {
        "python": sys.version.split()[0],
        "torch": importlib.metadata.version("torch"),
        "measured": measured,
        "profiles": profiles,
        "default_profile": _choose(measured, profiles),
        "missing": _missing(folder, measured),
    }


def _with(profile: str) -> list[Suite]:
    """The shipped suites that have this profile."""
    found = []
    for name in compose.shipped():
        with contextlib.suppress(HarnessError):
            found.append(compose.load(name, profile))
    return found


def _rate(measured: dict[str, Any], device: str) -> tuple[float, int] | None:
    """(training FLOP/s of one worker, workers) on this device, or None without it."""
    if device == "cuda":
        if not measured["cuda"]:
            return None
        tokens = min(g["training_tokens_per_second"] for g in measured["cuda"])
        return tokens * PROBE_FLOPS_PER_TOKEN, len(measured["cuda"])
    return measured["cpu"]["1"]["training_tokens_per_second"] * PROBE_FLOPS_PER_TOKEN, measured["cpus"]


def _estimate(suite: Suite, measured: dict[str, Any]) -> dict[str, Any]:
    """What a suite's trials take here: their FLOPs by formula, over the measured rate."""
    plan = make_plan(suite, RecordSet(), None)
    device = str(suite.base.get("compute", {}).get("device", "cpu"))
    known = sum(i.flops for i in plan.items)
    # What follows tuning are trials like those already known.
    flops = known * (1 + plan.more / max(len(plan.items), 1))
    rate = _rate(measured, device)
    return {
        "suite": suite.name, "profile": suite.profile, "device": device, "trials": len(plan.items),
        "up_to_more": plan.more, "flops": flops, "budget_minutes": suite.budget_minutes,
        "estimated_minutes": round(flops / rate[0] / rate[1] / 60, 1) if rate else None,
    }  # fmt: skip


def _choose(measured: dict[str, Any], profiles: list[dict[str, Any]]) -> str:
    """gpu where the card can do every suite in about its budget, else cpu."""
    gpu = [p for p in profiles if p["profile"] == "gpu"]
    fits = all(
        p["estimated_minutes"] is not None
        and p["estimated_minutes"] <= GPU_HEADROOM * (p["budget_minutes"] or float("inf"))
        for p in gpu
    )
    return "gpu" if measured["cuda"] and gpu and fits else "cpu"


def default_profile() -> str:
    """The profile that ``make reproduce-all`` takes here; measures only where there is a CUDA device."""
    import torch

    return examine()["default_profile"] if torch.cuda.is_available() else "cpu"


def _missing(folder: Path, measured: dict[str, Any]) -> list[dict[str, str]]:
    """What is not here, what it is for, and how to get it."""
    out = []
    for package, (use, cure) in OPTIONAL.items():
        if importlib.util.find_spec(package) is None:
            out.append({"what": package, "for": use, "get it": cure})
    if not measured["cuda"]:
        out.append({
            "what": "CUDA device", "for": "profiles gpu and paper",
            "get it": "run there: harness plan --export round.zip, then harness execute round.zip",
        })  # fmt: skip
    if shutil.which("git") is None:
        out.append({"what": "git", "for": "provenance of records", "get it": "install git"})
    if measured["disk_free_gib"] < 2:
        out.append({"what": "disk space", "for": "corpus, records, report", "get it": f"free 2 GiB at {folder}"})
    return out

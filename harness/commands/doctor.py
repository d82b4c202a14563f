"""What this machine can run, how long it will take, and what is missing: by a measured probe of a few seconds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

from harness.environment import cpu_slots, measure
from harness.errors import HarnessError
from harness.numbers import duration
from harness.planning import compose as suites
from harness.planning.plan import make_plan
from harness.planning.suite import PROFILES
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
    profiles = [_estimate(name, profile, measured) for profile in PROFILES for name in _with(profile)]
    return {
        "python": sys.version.split()[0],
        "torch": importlib.metadata.version("torch"),
        "measured": measured,
        "profiles": profiles,
        "default_profile": _choose(measured, profiles),
        "missing": _missing(folder, measured),
    }


def _with(profile: str) -> list[str]:
    names = []
    for name in suites.shipped():
        try:
            suites.load(name, profile)
        except HarnessError:
            continue
        names.append(name)
    return names


def _rate(measured: dict[str, Any], device: str) -> tuple[float, int] | None:
    """(training FLOP/s of one worker, workers) on this device, or None without it."""
    if device == "cuda":
        if not measured["cuda"]:
            return None
        tokens = min(g["training_tokens_per_second"] for g in measured["cuda"])
        return tokens * PROBE_FLOPS_PER_TOKEN, len(measured["cuda"])
    return measured["cpu"]["1"]["training_tokens_per_second"] * PROBE_FLOPS_PER_TOKEN, measured["cpus"]


def _estimate(name: str, profile: str, measured: dict[str, Any]) -> dict[str, Any]:
    suite = suites.load(name, profile)
    plan = make_plan(suite, RecordSet(), None)
    device = str(suite.base.get("compute", {}).get("device", "cpu"))
    known = sum(i.flops for i in plan.items)
    # What follows tuning are trials like those already known.
    flops = known * (1 + plan.more / max(len(plan.items), 1))
    rate = _rate(measured, device)
    return {
        "suite": name, "profile": profile, "device": device, "trials": len(plan.items), "up_to_more": plan.more,
        "flops": flops, "budget_minutes": suite.budget_minutes,
        "estimated_minutes": round(flops / rate[0] / rate[1] / 60, 1) if rate else None,
    }  # fmt: skip


def _choose(measured: dict[str, Any], profiles: list[dict[str, Any]]) -> str:
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


def as_text(found: dict[str, Any]) -> str:
    """The same for a reader."""
    measured = found["measured"]
    lines = [
        f"Python {found['python']}, torch {found['torch']}",
        f"CPU: {measured['cpu_model']}, {cpu_slots()} usable, capability {measured['cpu_capability']}",
    ]
    for threads, figures in measured["cpu"].items():
        lines.append(
            f"  {threads} thread{'s' if threads != '1' else ''}: {figures['fp32_gflops']:.0f} GFLOP/s fp32, "
            f"{figures['bf16_gflops']:.0f} bf16, {figures['training_tokens_per_second']:.0f} tokens/s training d 64"
        )
    for gpu in measured["cuda"]:
        lines.append(f"GPU: {gpu.get('name')}, {gpu['memory_free_gib']} GiB free, "
                     f"{gpu['bf16_gflops'] / 1e3:.0f} TFLOP/s bf16")  # fmt: skip
    lines.append(f"memory {measured['memory_free_gib']} of {measured['memory_gib']} GiB free, "
                 f"disk {measured['disk_free_gib']} GiB free")  # fmt: skip
    lines.append("\nsuite                  profile  device  trials    estimated      budget")
    for p in found["profiles"]:
        time, budget = (
            None if p[k] is None else duration(60 * p[k]) for k in ("estimated_minutes", "budget_minutes")
        )
        time, budget = time or f"no {p['device']} here", budget or "-"
        trials = f"{p['trials']}+{p['up_to_more']}" if p["up_to_more"] else str(p["trials"])
        lines.append(f"{p['suite']:<22} {p['profile']:<8} {p['device']:<7} {trials:<9} {time:<14} {budget}")
    lines.append(f"\ndefault profile of `make reproduce-all`: {found['default_profile']}")
    for m in found["missing"]:
        lines.append(f"missing: {m['what']} (for {m['for']}): {m['get it']}")
    return "\n".join(lines)

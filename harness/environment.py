"""The machine that a trial runs on: provenance, numerics class, and a probe of a few seconds.

torch is imported only when a function needs it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "method-harness", "torch", "numpy", "pydantic", "PyYAML", "tokenizers", "scipy", "Pillow", "scikit-image",
)
"""Packages whose version a record keeps, where installed."""
CODE = ("harness", "baselines", "suites", "constraints.txt", "pyproject.toml")
"""Paths of the repository whose changes make it dirty; results and documents do not."""
NUMERIC_VARIABLES = (
    "ATEN_CPU_CAPABILITY", "BLIS_ARCH_TYPE", "DNNL_DEFAULT_FPMATH_MODE", "DNNL_MAX_CPU_ISA",
    "KMP_DETERMINISTIC_REDUCTION", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES", "NVIDIA_TF32_OVERRIDE", "OMP_DYNAMIC", "OMP_SCHEDULE", "OMP_THREAD_LIMIT",
    "ONEDNN_DEFAULT_FPMATH_MODE", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_CUDNN_V8_API_DISABLED", "TORCH_LINEAR_FLATTEN_3D",
)  # fmt: skip
"""Variables by which libraries choose kernels, precision or the order of sums: part of the numerics class."""
NUMERIC_PREFIXES = ("TORCHINDUCTOR_", "TRITON_")
"""Every variable that begins so chooses generated code, those in NEUTRAL apart."""
NEUTRAL = (
    "TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS", "TORCHINDUCTOR_FX_GRAPH_CACHE",
    "TRITON_CACHE_DIR", "TRITON_HOME",
)  # fmt: skip
"""Those of them that say where generated code lies and how it is made."""
OWN = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TORCHINDUCTOR_DETERMINISTIC": "1"}
"""What harness.determinism sets; another value counts."""
ISA_FLAGS = ("avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_bf16", "amx_tile", "avx_vnni")
"""CPU flags by which oneDNN chooses its kernels beyond torch's own capability levels."""


# --- provenance --------------------------------------------------------------------------------------------


def environment(device: str = "cpu", threads: int = 1) -> dict[str, Any]:
    """What a record says of the machine and the code: plain data, without the host's name.

    ``device`` is "cpu" or "cuda[:n]"; ``threads`` the CPU threads of the trial.
    """
    cpu = _cpu()
    out: dict[str, Any] = {
        "python": platform.python_version(),
        "packages": _versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu["model"],
        "cpu_capability": _capability(),
        "cpus": cpu_slots(),
        "device": device.partition(":")[0],
        "threads": threads,
        "git": git_state(),
        "constraints": _constraints_digest(),
    }
    if device.startswith("cuda"):
        out["gpu"] = _gpu(device)
    return out


def numerics_class(device: str = "cpu", threads: int | None = None) -> str:
    """What bit-identity holds within: torch build, CPU capability and vendor or GPU model, flags, settings.

    Threads, dtype and device kind are config, so part of the identity; ``threads`` is accepted and not used.
    Raises RuntimeError for a CUDA device that is not there.
    """
    import torch

    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise RuntimeError("no CUDA device on this machine")
        unit = f"{torch.cuda.get_device_name(torch.device(device))} cuda {torch.version.cuda}"
    else:
        unit = " ".join([_capability(), _cpu()["vendor"], *_cpu()["isa"]]).strip()
    return ", ".join([f"torch {torch.__version__}", unit, "deterministic", *numeric_settings(os.environ)])


def numeric_settings(variables: Mapping[str, str]) -> list[str]:
    """``NAME=value`` of each set variable that may change a number's last digits, in order of their names."""
    return [
        f"{name}={value}"
        for name, value in sorted(variables.items())
        if (name in (*NUMERIC_VARIABLES, *OWN) or name.startswith(NUMERIC_PREFIXES))
        and name not in NEUTRAL
        and OWN.get(name) != value
    ]


def missing_device(device: str) -> str:
    """Why trials on this device cannot run here; empty if they can."""
    if not device.startswith("cuda"):
        return ""
    import torch

    return "" if torch.cuda.is_available() else "no CUDA device on this machine"


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _cpu() -> dict[str, Any]:
    model, vendor, flags = platform.processor() or platform.machine(), "", set[str]()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        pairs = (line.partition(":") for line in text.splitlines())
        fields = {key.strip(): value.strip() for key, _, value in pairs}
        model = fields.get("model name", model)
        vendor = fields.get("vendor_id", "")
        flags = set(fields.get("flags", fields.get("Features", "")).split())
    except OSError:
        if platform.system() == "Darwin":
            model = (_output(["sysctl", "-n", "machdep.cpu.brand_string"]) or model).strip()
    return {"model": model, "vendor": vendor, "isa": [f for f in ISA_FLAGS if f in flags]}


@cache
def _capability() -> str:
    import torch

    return torch.backends.cpu.get_cpu_capability()


def _gpu(device: str) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(torch.device(device))
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "driver": _driver(),
    }


@cache
def _driver() -> str:
    text = _output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]) or ""
    return text.partition("\n")[0].strip()


def _root() -> Path:
    return Path(__file__).resolve().parent.parent


@cache
def git_state() -> dict[str, Any] | None:
    """SHA, dirty flag and digest of what differs from it, of the repository that holds this package.

    None where the package does not lie in a git work tree, or lies in somebody else's (a virtual environment
    inside another project). Untracked files of the package count as differences.
    """
    root = _root()
    # Tracked there? Else the work tree around us is not ours.
    if _git("ls-files", "--error-unmatch", "harness/trial.py") is None:
        return None
    sha = _git("rev-parse", "HEAD")
    if sha is None:
        return None
    paths = [p for p in CODE if (root / p).exists()]
    diff = _git("diff", "--no-ext-diff", "--binary", "HEAD", "--", *paths) or ""
    difference = hashlib.sha256(diff.encode())
    status = _git("status", "--porcelain", "--untracked-files=all", "--", *paths) or ""
    for line in sorted(status.splitlines()):
        if line.startswith("??"):
            file = root / line[3:].strip().strip('"')
            difference.update(line.encode())
            if file.is_file():
                difference.update(file.read_bytes())
    dirty = bool(status.strip())
    return {
        "sha": sha.strip(),
        "dirty": dirty,
        "difference": difference.hexdigest()[:16] if dirty else "",
    }


def _git(*arguments: str) -> str | None:
    # GIT_OPTIONAL_LOCKS: looking must never hold the index lock of somebody who is committing.
    return _output(["git", "-C", str(_root()), *arguments], {"GIT_OPTIONAL_LOCKS": "0"})


def _output(command: list[str], extra: dict[str, str] | None = None) -> str | None:
    """Standard output of a command, or None if it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=20, check=True, env={**os.environ, **(extra or {})}
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


@cache
def _constraints_digest() -> str | None:
    file = _root() / "constraints.txt"
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else None


# --- processors --------------------------------------------------------------------------------------------


def cpu_slots() -> int:
    """CPUs that this process may use at once: affinity and cgroup quota, rounded down, at least 1."""
    count = len(available_cpus())
    quota = _cpu_quota()
    return max(1, min(count, int(quota)) if quota is not None else count)


def available_cpus() -> list[int]:
    """Numbers of the CPUs in this process's affinity mask."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _cpu_quota(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs that the control groups around this process allow, or None for no limit."""
    limits = []
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [root / controllers, root / "cpu"] if controllers else []
        base = next((m for m in mounts if m.is_dir()), root)
        group = base / path.lstrip("/")
        # A limit on any ancestor binds; inside a container the path may not exist, its root does.
        for folder in (group, *group.parents):
            if folder == base.parent:
                break
            limits += _quota_of(folder)
    return min(limits, default=None)


def _quota_of(folder: Path) -> list[float]:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
            return [] if quota == "max" else [int(quota) / int(period)]
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        return [quota_us / int((folder / "cpu.cfs_period_us").read_text())] if quota_us > 0 else []
    except (OSError, ValueError):
        return []


# --- doctor's probe ----------------------------------------------------------------------------------------


def measure(folder: Path | str = ".", seconds: float = 0.3) -> dict[str, Any]:
    """What this machine can do, measured in a few seconds.

    Returns ``cpu``: {threads: {fp32_gflops, bf16_gflops, training_tokens_per_second}} for 1 thread and all;
    ``cuda``: a list with the same figures, name and free GiB for each GPU; ``memory_gib`` and
    ``memory_free_gib`` (control-group limits respected); ``disk_free_gib`` of the folder. ``seconds`` is the
    time spent on each figure.
    """
    import torch

    before = torch.get_num_threads()
    cpu: dict[str, dict[str, float]] = {}
    try:
        for threads in sorted({1, cpu_slots()}):
            torch.set_num_threads(threads)
            cpu[str(threads)] = _figures("cpu", 512, seconds)
    finally:
        torch.set_num_threads(before)
    cuda = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = f"cuda:{index}"
            free, _ = torch.cuda.mem_get_info(index)
            about = {**_gpu(device), "memory_free_gib": round(free / 2**30, 1)}
            cuda.append({**about, **_figures(device, 4096, seconds)})
            torch.cuda.empty_cache()
    memory = memory_gib()
    return {
        "cpu_model": _cpu()["model"],
        "cpu_capability": _capability(),
        "cpus": cpu_slots(),
        "cpu": cpu,
        "cuda": cuda,
        "memory_gib": memory[0],
        "memory_free_gib": memory[1],
        "disk_free_gib": round(shutil.disk_usage(folder).free / 2**30, 1),
    }


def _figures(device: str, size: int, seconds: float) -> dict[str, float]:
    import torch

    out = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        rate = _rate(lambda a=a, b=b: a @ b, device, seconds)  # type: ignore[misc]
        out[f"{name}_gflops"] = round(2 * size**3 * rate / 1e9, 2)
    batch, length = (4, 128) if device == "cpu" else (64, 256)
    step = _training_step(device, batch, length)
    out["training_tokens_per_second"] = round(batch * length * _rate(step, device, seconds), 1)
    return out


def _training_step(device: str, batch: int, length: int) -> Callable[[], Any]:
    """One AdamW step of a two-layer byte transformer of width 64: the size of a laptop's trial."""
    import torch
    from torch import nn

    width, vocabulary = 64, 256
    layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
    model = nn.Sequential(
        nn.Embedding(vocabulary, width),
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        nn.Linear(width, vocabulary),
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, vocabulary, (batch, length + 1), device=device)

    def step() -> None:
        logits = model(tokens[:, :-1])
        nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _rate(work: Callable[[], Any], device: str, seconds: float) -> float:
    """Calls a second: the best of three windows, since neighbours can only slow us down."""
    import torch

    def timed(calls: int) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    for _ in range(3):
        timed(1)
    calls = max(1, int(seconds / 3 / max(timed(1), 1e-7)))
    return max(calls / timed(calls) for _ in range(3))


def memory_gib() -> tuple[float, float]:
    """(total, available) GiB, with the control group's limit where it is lower."""
    total = available = 0.0
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, available = (int(fields[k].split()[0]) / 2**20 for k in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        if hasattr(os, "sysconf"):
            total = available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            ceiling = int(Path(limit).read_text()) / 2**30
            taken = int(Path(used).read_text()) / 2**30
        except (OSError, ValueError):
            continue
        if ceiling < total:
            total, available = ceiling, min(available, ceiling - taken)
    return round(total, 1), round(available, 1)

"""One part of a group in a process of its own: ``python -m harness.benchmarks.alone GROUP PART DEVICE ROUNDS``.

A fresh process has no compiled code of another part, one thread, and an allocator that keeps what it is given back,
as a GPU's does: else the pages of large intermediate results are mapped anew in every call, and the noise of that
is larger than any operator.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from harness.benchmarks import groups
from harness.errors import unknown

SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""Of the process: threads, and glibc's allocator (mallopt(3)); other allocators ignore these."""
SECONDS = 900
"""After which a part is given up."""


def group_names() -> list[str]:
    """Every group: a file of ``harness/benchmarks/groups``."""
    return sorted(m.name for m in pkgutil.iter_modules(groups.__path__))


def known(name: str) -> str:
    """The name, if it is a group's. Raises UnknownNameError."""
    if name not in group_names():
        raise unknown("group of benchmarks", name, group_names())
    return name


def group(name: str) -> ModuleType:
    """A group by its name. Raises UnknownNameError."""
    known(name)
    return importlib.import_module(f"{groups.__name__}.{name}")


def measured(name: str, part: str, device: str, rounds: int) -> tuple[list[dict[str, Any]], str]:
    """The cases of a part as plain data, with seconds of every form; or none of them, and the reason."""
    words = [sys.executable, "-m", __name__, name, part, device, str(rounds)]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, **SETTINGS}
        )
    except subprocess.TimeoutExpired:
        return [], f"not done after {SECONDS} s"
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return [], said[-1] if said else f"its process ended with {done.returncode}"
    return json.loads(done.stdout.splitlines()[-1]), ""


def measure_here(name: str, part: str, device: str, rounds: int) -> Iterator[dict[str, Any]]:
    """The same in this process, case by case."""
    import torch

    from harness.benchmarks import interleaved

    torch.set_num_threads(1)
    torch.manual_seed(0)
    time_of = interleaved.timer(device)
    for case in group(name).cases(part, device):
        forms = {**case.forms, case.ceiling: case.best}
        seconds = interleaved.measure(forms, time_of, rounds)
        yield {
            "group": name, "name": case.name, "reference": case.reference, "ceiling": case.ceiling,
            "forms": {
                key: {"bytes": form.bytes, "flops": form.flops, "runs": [[float(f"{s:.4g}") for s in seconds[key]]]}
                for key, form in forms.items()
            },
        }  # fmt: skip


if __name__ == "__main__":
    json.dump(list(measure_here(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))), sys.stdout)

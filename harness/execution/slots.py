"""Shares of this machine, each of which runs one trial at a time: groups of CPU threads, or GPUs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from harness.environment import available_cpus, cpu_slots

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Slot:
    """A share of the machine that runs one trial at a time."""

    number: int
    threads: int
    cpus: tuple[int, ...] = ()
    """CPUs to stay on; empty: any."""
    gpu: str | None = None
    """The one device to see, as CUDA_VISIBLE_DEVICES names it."""

    def environment(self) -> dict[str, str]:
        """This process's variables, with those that a process of this slot is to start with."""
        own = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        # The order of a set is the same in every trial, too.
        own["PYTHONHASHSEED"] = "0"
        return {**os.environ, **own, **({} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": self.gpu})}


def divide(device: str, threads: int, limit: int | None = None, trials_per_gpu: int = 1) -> list[Slot]:
    """The machine's slots for trials on this device kind with so many CPU threads each."""
    if device == "cuda":
        names = [name for name in visible_gpus() for _ in range(trials_per_gpu)] or [""]
        return [Slot(n, threads, gpu=name or None) for n, name in enumerate(names[:limit])]
    cpus, allowed = available_cpus(), cpu_slots()
    count = limit or max(1, allowed // threads)
    # Under a quota, or with more trials than cores, the system's scheduler knows better than a fixed place.
    pinned = allowed == len(cpus) and count * threads <= len(cpus)
    return [
        Slot(n, threads, tuple(cpus[n * threads : (n + 1) * threads]) if pinned else ()) for n in range(count)
    ]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() and name.strip() != "-1"]
    import torch

    return [str(n) for n in range(torch.cuda.device_count())]

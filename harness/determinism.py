"""The switches that make equal trials give equal bits. Part of every trial's fingerprint."""

from __future__ import annotations

import os
import sys


def make_deterministic(device: str = "cpu", threads: int = 1) -> None:
    """Set this process up so that equal trials give equal bits: threads, algorithms, full fp32 products.

    On CUDA an operator without a deterministic form is an error that names it. With a mere warning attention's
    backward pass would take its form that does not repeat, too.
    """
    # cuBLAS reads it when it is first used; torch demands it for deterministic products on CUDA.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"
    import torch

    torch.set_num_threads(threads)
    warn_only = not device.startswith("cuda")
    if "torch._inductor.config" in sys.modules:
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
    else:
        # The public function imports the compiler, 1.5 s a process, only to set what the variable above sets.
        torch._C._set_deterministic_algorithms(True, warn_only=warn_only)
    # Deterministic mode would fill every torch.empty with NaN: time spent to find bugs that tests look for.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False

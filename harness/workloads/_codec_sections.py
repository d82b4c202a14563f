"""What the configs of codecs share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from harness.workloads._sections import Compute


def on_a_cpu(compute: Compute) -> Compute:
    """Bits of a file hang on its arithmetic: one device, one number format. Raises ValueError for others."""
    if compute.device != "cpu" or compute.dtype != "float32" or compute.compile:
        raise ValueError("codecs run uncompiled in float32 on a CPU; give threads alone")
    return compute


CodecCompute = Annotated[Compute, AfterValidator(on_a_cpu)]

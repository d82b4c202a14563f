"""A codec on samples of a Gaussian field, with the field's own exact denoiser: what it reaches, beside the bounds.

Nothing is learned, and nothing of an image is unknown: what is lost to the bound is the codec's doing. Where theory
tells a codec's choice of noise, its state evolution stands beside the simulation.
"""

from __future__ import annotations

import math
import time
from typing import Any

from pydantic import BaseModel, Field

from harness.errors import HarnessError
from harness.methods.construct import build
from harness.outcome import Table
from harness.trial import Trial
from harness.workload import Context, Cost, Metric, Outcome
from harness.workloads._codec_sections import CodecCompute
from harness.workloads._sections import FROZEN, Compute

METHODS = {"codec": "codec", "denoiser": "denoiser"}
"""Config section -> kind of method."""

METRICS = {
    "distortion": Metric(label="mean square error", unit="share of the variance", shown=True, compared=True),
    "distortion_error": Metric(label="standard error of it", unit="share of the variance"),
    "distortion_predicted": Metric(
        label="mean square error by the state evolution", unit="share of the variance", shown=True
    ),
    "deviation": Metric(label="distance of simulation and state evolution", unit="share of the prediction"),
    "distortion_shannon": Metric(label="least at this rate", unit="share of the variance"),
    "distortion_realism": Metric(label="least at this rate under perfect realism", unit="share of the variance"),
    "gap": Metric(label="distortion above Shannon's bound", unit="dB", shown=True),
    "bits_per_value": Metric(label="rate of the payload", unit="bits per value", shown=True, compared=True),
    "decoder_equal": Metric(
        label="share of samples whose decoded image is the encoder's", better="higher", compared=True
    ),
    "denoiser_calls": Metric(label="steps of an encoding"),
    "flops": Metric(label="FLOPs of the denoiser's transforms"),
}
"""Metric -> what readers, estimators and the gate must know of it."""

MOST_OUTSIDE = 1e-3
"""Share of a field's values that may lie outside [-1, 1], where 8 bits end."""

WAYS = 2
"""Encoding and decoding."""


class Config(BaseModel):
    """A codec on a Gaussian field."""

    model_config = FROZEN

    codec: dict[str, Any]
    """A codec that needs a denoiser: name and fields."""
    denoiser: dict[str, Any] = Field(
        default={"name": "gaussian", "variance": 0.06, "exponent": 1e-9, "chroma": 2 / 3}
    )
    """The field, by the denoiser that is exact for it: it also has ``variances`` and ``shaped``. Default: white."""
    side: int = Field(default=37, ge=1, le=1024)
    """Sides of the square field; it has three channels. 37: 4,107 values."""
    repeats: int = Field(default=8, ge=2)
    """Independent samples."""
    compute: CodecCompute = Field(default=Compute())
    """Device and threads; codecs run in float32 on a CPU."""


def data_spec(config: Config) -> None:
    """None: samples are drawn."""
    return None


def cost(config: Config) -> Cost:
    """FLOPs of the denoiser's transforms, 5/2 N log2 N each. Refuses codecs and denoisers that do not fit."""
    codec, field = build("codec", config.codec, "codec"), build("denoiser", config.denoiser, "denoiser")
    if not codec.trained:
        raise HarnessError(f"codec {config.codec['name']!r} needs no denoiser; a Gaussian says nothing of it")
    if not hasattr(field, "variances") or not hasattr(field, "shaped"):
        raise HarnessError(
            f"denoiser {config.denoiser['name']!r} says no variances of its field and draws no sample; use gaussian"
        )
    transform = 2.5 * 3 * config.side**2 * math.log2(max(2, config.side**2))
    return Cost(flops=WAYS * 2 * transform * config.repeats * getattr(codec, "steps", 1))


def run(trial: Trial, config: Config, context: Context) -> Outcome:
    """Encode and decode samples. Table ``samples``: one row a sample (distortion, bits, decoder_equal)."""
    import numpy as np
    import torch

    from harness.metrics.distortion import realism_distortion, shannon_distortion
    from harness.metrics.evolution import evolved
    from harness.streams import Streams

    cost(config)
    codec, field = build("codec", config.codec, "codec"), build("denoiser", config.denoiser, "denoiser")
    streams, size = Streams(trial.seed, f"side={config.side}"), (config.side, config.side)
    variances = field.variances(*size).numpy()
    variance, start, rows = float(variances.mean()), time.perf_counter(), []
    if math.erfc(1 / math.sqrt(2 * variance)) > MOST_OUTSIDE:
        raise HarnessError(
            f"more than {100 * MOST_OUTSIDE:g} % of the field's values lie outside [-1, 1], where 8 bits end; "
            "lower denoiser.variance"
        )
    for i in range(config.repeats):
        x0 = field.shaped(streams.normal("field", i, (1, 3, *size)))
        pixels = ((x0 + 1) * 127.5).round().clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
        encoded = codec.encode(np.ascontiguousarray(pixels), field)
        decoded = codec.decode(encoded.payload, size, field)
        found = torch.from_numpy(decoded).permute(2, 0, 1)[None].double() / 127.5 - 1
        distortion = float((found - x0.double()).square().mean()) / variance
        rows.append([i, distortion, encoded.bits, bool((decoded == encoded.reconstruction).all())])
        context.on_progress((i + 1) / config.repeats)
    distortions, bits = (np.array([row[c] for row in rows], dtype=float) for c in (1, 2))
    distortion, mean_bits = float(distortions.mean()), float(bits.mean())
    shannon = shannon_distortion(variances, mean_bits) / variance
    walk = codec.walk_of_choices() if hasattr(codec, "walk_of_choices") else None
    predicted = None if walk is None else evolved(variances, walk) / variance
    return Outcome(
        metrics={
            "distortion": distortion,
            "distortion_error": float(distortions.std(ddof=1)) / math.sqrt(len(rows)),
            "distortion_predicted": predicted,
            "deviation": None if predicted is None else abs(distortion / predicted - 1),
            "distortion_shannon": shannon,
            "distortion_realism": realism_distortion(variances, mean_bits) / variance,
            "gap": 10 * math.log10(distortion / shannon),
            "bits_per_value": mean_bits / len(variances),
            "decoder_equal": float(np.mean([row[3] for row in rows])),
            "denoiser_calls": float(getattr(codec, "steps", 1)),
            "flops": cost(config).flops,
        },
        tables={"samples": Table(columns=["sample", "distortion", "bits", "decoder_equal"], rows=rows)},
        seconds={"codec": time.perf_counter() - start},
    )

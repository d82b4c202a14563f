"""A codec at one point on the held-out photographs of a fold: each is encoded to a file and decoded from it.

A diffusion codec's denoiser was trained on the other fold, as the trial needs it (``needs.denoiser``), or is one
that knows no photographs. Photograph by photograph, on the trial's threads: bits that do not hang on a batch.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, Field, model_validator

from harness import registry
from harness.data.photographs import FOLDS, PHOTOGRAPHS, Photograph, held_out, square
from harness.errors import HarnessError
from harness.methods.construct import build
from harness.metrics.images import bits_per_pixel, psnr, ssim
from harness.models.denoiser_size import DenoiserSize
from harness.outcome import Table, finite
from harness.trial import Trial
from harness.workload import Context, Cost, Metric, Outcome
from harness.workloads._codec_sections import CodecCompute
from harness.workloads._sections import FROZEN, Compute

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

METHODS = {"codec": "codec", "denoiser": "denoiser"}
"""Config section -> kind of method."""

METRICS = {
    "psnr": Metric(label="PSNR, mean over photographs", unit="dB", better="higher", shown=True, compared=True),
    "bits_per_pixel_file": Metric(label="rate of the file", unit="bits per pixel", shown=True, compared=True),
    "bits_per_pixel_payload": Metric(label="rate of the payload", unit="bits per pixel", compared=True),
    "ssim": Metric(label="SSIM, mean over photographs", better="higher", shown=True, compared=True),
    "psnr_ceiling": Metric(label="PSNR of the denoiser itself, at its least noise", unit="dB", better="higher"),
    "encode_seconds": Metric(label="encoding time", unit="s per photograph"),
    "decode_seconds": Metric(label="decoding time", unit="s per photograph"),
    "denoiser_seconds": Metric(label="of it in the denoiser, encoding", unit="s per photograph"),
    "denoiser_calls": Metric(label="denoiser calls of an encoding", shown=True, compared=True),
    "decoder_equal": Metric(
        label="share of photographs whose decoded image is the encoder's", better="higher", compared=True
    ),
    "header_bytes": Metric(label="bytes of the file outside the payload", compared=True),
    "photographs": Metric(label="photographs"),
    "flops": Metric(label="FLOPs of the denoiser, as of the embedded one"),
}
"""Metric -> what readers, estimators and the gate must know of it."""

COLUMNS = (
    "image", "natural", "pixels", "bytes_file", "bytes_payload", "bits_formula", "bits_per_pixel_file",
    "bits_per_pixel_payload", "psnr", "psnr_ceiling", "ssim", "encode_seconds", "decode_seconds",
    "denoiser_seconds", "denoiser_calls", "decoder_equal",
)  # fmt: skip
"""Of the table ``images``, one row a photograph."""
ALMOST_CLEAR = 1 - 1e-4
"""Share of the signal's variance in DDPM's last step (2006.11239): what the ceiling is measured at."""


class Config(BaseModel):
    """A codec at one point."""

    model_config = FROZEN

    codec: dict[str, Any]
    """A codec: name and fields; one that has a codebook takes that of the trial's seed, not one of its own."""
    denoiser: dict[str, Any] | None = Field(default=None)
    """What a diffusion codec denoises with: name and fields. A trained one reads the needed trial ``denoiser``."""
    fold: str = "a"
    """Whose held-out photographs are encoded: a or b."""
    side: int = Field(default=128, ge=1)
    """Side of their middle squares, pixels."""
    compute: CodecCompute = Field(default=Compute())
    """Device and threads; codecs run in float32 on a CPU."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fold not in FOLDS:
            raise ValueError(f"fold {self.fold!r}: give one of {', '.join(FOLDS)}")
        if "seed" in self.codec:
            raise ValueError("codec.seed: the codebook is that of the trial's seed; leave it out, and give seeds")
        most = min(min(p.size) for p in PHOTOGRAPHS)
        if self.side > most:
            raise ValueError(f"side {self.side}: the smallest photograph has {most} pixels; give 1 to {most}")
        return self


def data_spec(config: Config) -> None:
    """None: the photographs lie in wheels, and their digests in code that the fingerprint covers."""
    return None


def cost(config: Config) -> Cost:
    """FLOPs of encoding and decoding as if each step called the embedded denoiser; refuses a codec without one."""
    codec = build("codec", config.codec, "codec")
    if codec.trained and config.denoiser is None:
        raise HarnessError(
            f"codec {config.codec['name']!r} needs a denoiser; give e.g. denoiser: {{name: unet}} and the needed "
            "trial, or denoiser: {name: gaussian}"
        )
    calls = 2 * getattr(codec, "steps", 0) * len(held_out(config.fold)) if codec.trained else 0
    return Cost(flops=calls * DenoiserSize().flops(config.side, config.side))


def run(trial: Trial, config: Config, context: Context) -> Outcome:
    """Encode and decode every held-out photograph. Table ``images``: COLUMNS, one row a photograph."""
    codec, denoiser = _codec(config, trial.seed), None
    if codec.trained:
        denoiser = Watched(_denoiser(config, context.needs))
    rows = []
    photographs = held_out(config.fold)
    start = time.perf_counter()
    for i, photograph in enumerate(photographs):
        rows.append(measured(codec, denoiser, photograph, config.side))
        context.on_progress((i + 1) / len(photographs))
    seconds = {"codec": time.perf_counter() - start}
    table = Table(
        columns=list(COLUMNS),
        rows=[[row[c] for c in COLUMNS] for row in rows],
        about={"side": config.side, "fold": config.fold},
    )
    return Outcome(
        metrics={**_means(rows), "flops": cost(config).flops}, tables={"images": table}, seconds=seconds
    )


def measured(codec: Any, denoiser: Watched | None, photograph: Photograph, side: int) -> dict[str, Any]:
    """The table's row of one photograph."""
    from harness.codecs import coding

    image = square(photograph, side)
    calls, spent, start = _so_far(denoiser), _spent(denoiser), time.perf_counter()
    encoded = coding.encode(codec, image, denoiser)
    encode_seconds, calls = time.perf_counter() - start, _so_far(denoiser) - calls
    spent = _spent(denoiser) - spent
    start = time.perf_counter()
    decoded = coding.decode(encoded.file, denoiser).image
    decode_seconds = time.perf_counter() - start
    return {
        "image": photograph.name,
        "natural": photograph.natural,
        "pixels": side * side,
        "bytes_file": len(encoded.file),
        "bytes_payload": encoded.payload_bytes,
        "bits_formula": encoded.encoded.bits,
        "bits_per_pixel_file": bits_per_pixel(len(encoded.file), image),
        "bits_per_pixel_payload": bits_per_pixel(encoded.payload_bytes, image),
        "psnr": finite(psnr(image, decoded)),
        "psnr_ceiling": None if denoiser is None else finite(_ceiling(denoiser, photograph, image)),
        "ssim": finite(ssim(image, decoded)),
        "encode_seconds": encode_seconds,
        "decode_seconds": decode_seconds,
        "denoiser_seconds": spent,
        "denoiser_calls": calls,
        "decoder_equal": bool((decoded == encoded.encoded.reconstruction).all()),
    }


class Watched:
    """A denoiser, and how often and how long it was asked."""

    def __init__(self, denoiser: Any) -> None:
        self._denoiser = denoiser
        self.calls, self.seconds = 0, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def predict(self, x_BCHW: Tensor, alpha_bar: float) -> Tensor:
        """What it says."""
        start = time.perf_counter()
        found = self._denoiser.predict(x_BCHW, alpha_bar)
        self.calls += 1
        self.seconds += time.perf_counter() - start
        return found


def _codec(config: Config, seed: int) -> Any:
    """The configured codec, with the codebook of this seed where it has one."""
    cls = registry.method_class("codec", str(config.codec.get("name")))
    own = {"seed": seed} if "seed" in getattr(cls, "__dataclass_fields__", {}) else {}
    return build("codec", {**config.codec, **own}, "codec")


def _denoiser(config: Config, needs: Any) -> Any:
    """The configured denoiser; one that reads a folder reads that of the needed trial."""
    fields = dict(config.denoiser or {})
    if "denoiser" in needs and not fields.get("folder"):
        cls = registry.method_class("denoiser", str(fields.get("name")))
        if "folder" in getattr(cls, "__dataclass_fields__", {}):
            fields["folder"] = str(Path(needs["denoiser"]))
    return build("denoiser", fields, "denoiser")


def _ceiling(denoiser: Watched, photograph: Photograph, image: np.ndarray) -> float:
    """PSNR of what the denoiser makes of the image almost without noise: about the most for a codec on it."""
    import numpy as np
    import torch

    from harness.streams import Streams

    sides = [-side % denoiser.multiple for side in image.shape[:2]]
    padded = np.pad(image, ((0, sides[0]), (0, sides[1]), (0, 0)), mode="symmetric").transpose(2, 0, 1)[None]
    x0 = torch.from_numpy(np.ascontiguousarray(padded)).float() / 127.5 - 1
    noise = Streams(0, photograph.name).normal("ceiling", "", tuple(x0.shape))
    found = denoiser.predict(math.sqrt(ALMOST_CLEAR) * x0 + math.sqrt(1 - ALMOST_CLEAR) * noise, ALMOST_CLEAR)
    pixels = ((found + 1) * 127.5).round().clamp(0, 255).byte()[0].permute(1, 2, 0).cpu().numpy()
    return psnr(image, pixels[: image.shape[0], : image.shape[1]])


def _so_far(denoiser: Watched | None) -> int:
    return denoiser.calls if denoiser else 0


def _spent(denoiser: Watched | None) -> float:
    return denoiser.seconds if denoiser else 0.0


def _means(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Means over photographs; None where one has no number."""
    metrics: dict[str, float | None] = {}
    for name in METRICS:
        values = [row.get(name) for row in rows]
        if all(v is not None for v in values):
            metrics[name] = sum(float(v) for v in values if v is not None) / len(values)
    outside = [row["bytes_file"] - row["bytes_payload"] for row in rows]
    return {**metrics, "header_bytes": sum(outside) / len(outside), "photographs": float(len(rows))}

"""What the parametrizations share: standard init, ratios to the base shape, and their errors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from harness.errors import HarnessError
from harness.methods.parametrization import ParameterShape

MuonScale = Literal["naive", "keller", "spectral", "moonlight"]
"""Shape factors of the Muon baseline."""


def standard_std(
    shape: ParameterShape,
    embedding_std: float,
    hidden_gain: float,
    readout_gain: float,
    *,
    base: bool = False,
) -> float:
    """Standard deviation under the standard parametrization, at this shape or at its base shape."""
    fan_in = shape.base_fan_in if base else shape.fan_in
    if shape.zero_init or shape.role == "vector":
        return 0.0
    if shape.role == "embedding":
        return embedding_std
    return (hidden_gain if shape.role == "hidden" else readout_gain) / math.sqrt(fan_in)


def fan_in_ratio(shape: ParameterShape) -> float:
    """fan_in / base fan_in: the width multiplier m seen from the inputs."""
    return shape.fan_in / shape.base_fan_in


def fan_out_ratio(shape: ParameterShape) -> float:
    """fan_out / base fan_out: the width multiplier m seen from the outputs."""
    return shape.fan_out / shape.base_fan_out


def muon_lr(shape: ParameterShape, muon_scale: MuonScale, name: str) -> float:
    """LR factor that makes up for what the optimizer's own shape factor leaves of sqrt(fan_out / fan_in).

    Raises HarnessError for a vector, which has no polar factor.
    """
    if shape.role == "vector":
        raise HarnessError(
            f"parametrization {name!r}: family 'muon' has no rule for role 'vector' (a vector has no polar "
            "factor); let the optimizer train vectors in family 'adam' or 'sgd'"
        )
    own, base = (
        {
            "naive": 1.0,
            "keller": max(1.0, out / into),
            "spectral": out / into,
            "moonlight": float(max(out, into)),
        }[muon_scale]
        for out, into in ((shape.fan_out, shape.fan_in), (shape.base_fan_out, shape.base_fan_in))
    )
    # Both sides squared; one root, so that equal ratios give exactly 1.
    inputs = 1.0 if shape.role == "embedding" else fan_in_ratio(shape)
    return math.sqrt(fan_out_ratio(shape) / inputs / (own / base))


def no_rule(name: str, family: str, families: Iterable[str]) -> HarnessError:
    """The error for an optimizer family that a parametrization cannot scale."""
    listed = ", ".join(repr(f) for f in sorted(families))
    return HarnessError(
        f"parametrization {name!r} has no rule for optimizer family {family!r}; it has rules for {listed}. "
        "Choose an optimizer of such a family, or another parametrization"
    )


def adam_eps(shape: ParameterShape) -> float:
    """Factor that keeps eps in proportion to the gradient's entries, which shrink as 1/fan_out.

    2310.17813: ||grad||_F ~ sqrt(fan_in / fan_out), so an entry is ~ 1/fan_out; for a square hidden matrix
    this is the 1/fan_in of 2203.03466, App. B.3. A multiplier on the forward pass shrinks it further.
    """
    return 1.0 / fan_out_ratio(shape)


def check_positive(name: str, **values: float) -> None:
    """ValueError for a value that is not a positive finite number."""
    for key, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name}: {key} must be positive and finite, got {value!r}")

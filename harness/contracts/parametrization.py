"""Contract of the kind ``parametrization``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.methods.parametrization import ParameterShape, Parametrization, Scaling
from harness.methods.roles import Role

PROTOCOL = Parametrization


def check(method: Any) -> Iterator[str]:
    """Breaches of the parametrization's contract."""
    shapes: tuple[tuple[Role, int, int], ...] = (
        ("embedding", 256, 64), ("hidden", 64, 64), ("hidden", 64, 256), ("readout", 64, 256), ("vector", 1, 64)
    )  # fmt: skip
    for role, fan_in, fan_out in shapes:
        shape = ParameterShape(role=role, fan_in=fan_in, fan_out=fan_out, base_fan_in=fan_in, base_fan_out=fan_out)
        scaling = method.scaling(shape, "adam")
        if not isinstance(scaling, Scaling):
            yield f"scaling({role}) is {type(scaling).__name__}, expected Scaling"
            continue
        if scaling != method.scaling(shape, "adam"):
            yield f"scaling({role}) is not a pure function: two calls differ"
        if (scaling.lr, scaling.weight_decay, scaling.eps) != (1.0, 1.0, 1.0):
            yield f"scaling({role}) at the base shape has multipliers {scaling}; expected 1"
        if scaling.init_std < 0:
            yield f"scaling({role}).init_std is {scaling.init_std}, expected at least 0"
    zero = ParameterShape(role="readout", fan_in=8, fan_out=8, base_fan_in=8, base_fan_out=8, zero_init=True)
    if method.scaling(zero, "adam").init_std != 0:
        yield "scaling: zero_init asks for init_std 0"
    if not method.attention_scale(16, 16) > 0:
        yield f"attention_scale(16, 16) is {method.attention_scale(16, 16)}, expected a positive number"
    if method.residual_scale(4, 4) != 1.0:
        yield f"residual_scale at the base depth is {method.residual_scale(4, 4)}, expected 1"

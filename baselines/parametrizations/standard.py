"""Standard parametrization: variance 1/fan_in, one learning rate for every parameter, attention 1/sqrt(d).

The grey entries of 2203.03466, Table 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from baselines.parametrizations._common import check_positive, no_rule, standard_std
from harness.methods.parametrization import ParameterShape, Scaling
from harness.methods.roles import Family
from harness.registry import register

FAMILIES = ("adam", "muon", "sgd")


@register("parametrization")
@dataclass(frozen=True, kw_only=True)
class Standard:
    """Init std 1/sqrt(fan_in), no multipliers; the base shape is not looked at."""

    embedding_std: float = 1.0
    """Standard deviation of the embedding's entries (1 is natural for one-hot inputs)."""
    hidden_gain: float = 1.0
    """Hidden matrices have standard deviation hidden_gain / sqrt(fan_in)."""
    readout_gain: float = 1.0
    """The readout has standard deviation readout_gain / sqrt(fan_in), unless the model asks for zeros."""

    def __post_init__(self) -> None:
        check_positive(
            "standard",
            embedding_std=self.embedding_std,
            hidden_gain=self.hidden_gain,
            readout_gain=self.readout_gain,
        )

    def scaling(self, shape: ParameterShape, family: Family) -> Scaling:
        """Multipliers are all 1. Vectors get std 0: gains start at the ones their module sets."""
        if family not in FAMILIES:
            raise no_rule("standard", family, FAMILIES)
        return Scaling(
            init_std=standard_std(shape, self.embedding_std, self.hidden_gain, self.readout_gain)
        )

    def attention_scale(self, head_width: int, base_head_width: int) -> float:
        """1 / sqrt(head width)."""
        return 1.0 / math.sqrt(head_width)

    def residual_scale(self, depth: int, base_depth: int) -> float:
        """1 at every depth."""
        return 1.0

"""Spectral parametrization: weights and updates of spectral norm sqrt(fan_out / fan_in), by one formula.

2310.17813 (kexue.fm 10795). Init std sqrt(min(1, fan_out / fan_in) / fan_in); learning rate fan_out / fan_in
for SGD, 1 / fan_in for Adam, sqrt(fan_out / fan_in) for Muon; no forward multipliers, no case for the role
but that an embedding's input is one-hot, so its fan-in is 1. All is relative to the base shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from baselines.parametrizations._common import (
    MuonScale,
    adam_eps,
    check_positive,
    fan_in_ratio,
    fan_out_ratio,
    muon_lr,
    no_rule,
    standard_std,
)
from harness.methods.parametrization import ParameterShape, Scaling
from harness.methods.roles import Family
from harness.registry import register

FAMILIES = ("adam", "muon", "sgd")


def spectral_std(fan_in: int, fan_out: int) -> float:
    """Standard deviation whose Gaussian matrix has spectral norm ~ sqrt(fan_out / fan_in) (2310.17813)."""
    return math.sqrt(min(1.0, fan_out / fan_in) / fan_in)


@register("parametrization")
@dataclass(frozen=True, kw_only=True)
class Spectral:
    """One formula for every map, equal to the standard parametrization at the base shape."""

    attention: Literal["1/d", "1/sqrt(d)"] = "1/d"
    """Attention logits: '1/d' equals 1/sqrt(d) at the base head width; '1/sqrt(d)' is the usual scale."""
    weight_decay: Literal["independent", "coupled"] = "independent"
    """The optimizer multiplies decay with its LR; 'independent' undoes the LR factor, so that LR x decay is
    constant in width; 'coupled' leaves the coefficient alone."""
    eps: Literal["scaled", "constant"] = "scaled"
    """Adam's epsilon: 'scaled' follows the size of gradient entries (1/fan_out); 'constant' does not."""
    muon_scale: MuonScale = "spectral"
    """Shape factor that a Muon optimizer applies itself; the LR factor makes up for the rest (see mup)."""
    embedding_std: float = 1.0
    """Standard deviation of the embedding's entries, constant in width."""
    hidden_gain: float = 1.0
    """Hidden matrices have standard deviation hidden_gain / sqrt(fan_in) at the base shape."""
    readout_gain: float = 1.0
    """The readout has standard deviation readout_gain / sqrt(fan_in) at the base shape."""

    def __post_init__(self) -> None:
        check_positive(
            "spectral",
            embedding_std=self.embedding_std,
            hidden_gain=self.hidden_gain,
            readout_gain=self.readout_gain,
        )

    def scaling(self, shape: ParameterShape, family: Family) -> Scaling:
        """Raises HarnessError for a family without a row, and for a vector trained by Muon."""
        if family not in FAMILIES:
            raise no_rule("spectral", family, FAMILIES)
        std = standard_std(shape, self.embedding_std, self.hidden_gain, self.readout_gain, base=True)
        one_hot = shape.role == "embedding"
        if not one_hot:
            base = spectral_std(shape.base_fan_in, shape.base_fan_out)
            std *= spectral_std(shape.fan_in, shape.fan_out) / base
        inputs = 1.0 if one_hot else fan_in_ratio(shape)
        lr = {
            "adam": lambda: 1.0 / inputs,
            "sgd": lambda: fan_out_ratio(shape) / inputs,
            "muon": lambda: muon_lr(shape, self.muon_scale, "spectral"),
        }[family]()
        return Scaling(
            init_std=std,
            lr=lr,
            weight_decay=1.0 / lr if self.weight_decay == "independent" else 1.0,
            eps=adam_eps(shape) if self.eps == "scaled" else 1.0,
        )

    def attention_scale(self, head_width: int, base_head_width: int) -> float:
        """sqrt(base head width) / head width, or 1 / sqrt(head width)."""
        standard = 1.0 / math.sqrt(head_width)
        return standard * math.sqrt(base_head_width / head_width) if self.attention == "1/d" else standard

    def residual_scale(self, depth: int, base_depth: int) -> float:
        """1: no rule for depth here (see completep)."""
        return 1.0

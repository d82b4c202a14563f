"""Maximal update parametrization (muP): the optimal learning rate does not move with width.

2203.03466 (Tensor Programs V), Table 3 without multipliers or Table 8 with them; Muon's row is kexue.fm
10770's. All is relative to the base shape: at the base width this equals the standard parametrization.
With m = width / base width (fan_in / base fan_in, or fan_out / base fan_out):

                    embedding, vectors    readout, table 3    readout, table 8    hidden
    init variance   1                     1/m^2               1                   1/m
    forward         1                     1                   1/m                 1
    Adam LR         1                     1/m                 1                   1/m
    SGD LR          m                     1/m                 m                   1
    Muon LR         1 (*)                 1 (*)               m (*)               1 (*)

(*) on top of the optimizer's own shape factor sqrt(fan_out / fan_in); see ``muon_scale``.
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


@register("parametrization")
@dataclass(frozen=True, kw_only=True)
class MuP:
    """Both published tables; they give the same training, in exact arithmetic."""

    form: Literal["table3", "table8"] = "table8"
    """Table of 2203.03466: 'table3' has no multipliers, 'table8' a forward multiplier on the readout."""
    attention: Literal["1/d", "1/sqrt(d)"] = "1/d"
    """Attention logits: '1/d' equals 1/sqrt(d) at the base head width; '1/sqrt(d)' is the usual scale."""
    weight_decay: Literal["independent", "coupled"] = "independent"
    """The optimizer multiplies decay with its LR; 'independent' undoes the LR factor, so that LR x decay is
    constant in width; 'coupled' leaves the coefficient alone, so that decay shrinks with the LR (and then
    the two tables decay the readout differently)."""
    eps: Literal["scaled", "constant"] = "scaled"
    """Adam's epsilon: 'scaled' follows the size of the gradient's entries (1/m), 'constant' does not."""
    muon_scale: MuonScale = "spectral"
    """Shape factor ('scale') that the Muon optimizer applies itself. The LR factor makes up for what that
    leaves of sqrt(fan_out / fan_in): 1 for 'spectral'; 1/sqrt(m) on hidden matrices for 'moonlight', whose
    factor is 0.2 sqrt(max(fan_out, fan_in)). Left at 'spectral', a Moonlight-scaled Muon keeps its published
    form, whose optimum drifts as 1/sqrt(m)."""
    embedding_std: float = 1.0
    """Standard deviation of the embedding's entries, constant in width."""
    hidden_gain: float = 1.0
    """Hidden matrices have standard deviation hidden_gain / sqrt(fan_in)."""
    readout_gain: float = 1.0
    """Standard deviation of the readout at the base width, times sqrt(base fan_in)."""

    def __post_init__(self) -> None:
        check_positive(
            "mup",
            embedding_std=self.embedding_std,
            hidden_gain=self.hidden_gain,
            readout_gain=self.readout_gain,
        )

    def scaling(self, shape: ParameterShape, family: Family) -> Scaling:
        """Raises HarnessError for a family without a row, and for a vector trained by Muon."""
        if family not in FAMILIES:
            raise no_rule("mup", family, FAMILIES)
        readout, m = shape.role == "readout", fan_in_ratio(shape)
        multiplier = m if readout and self.form == "table8" else 1.0
        std = standard_std(shape, self.embedding_std, self.hidden_gain, self.readout_gain)
        if readout:
            # Table 3: variance 1/m below the standard one. Table 8: m times larger, as its multiplier is 1/m.
            std *= multiplier / math.sqrt(m)
        lr = self._lr(shape, family, multiplier)
        return Scaling(
            init_std=std,
            forward=1.0 / multiplier,
            lr=lr,
            weight_decay=1.0 / lr if self.weight_decay == "independent" else 1.0,
            eps=adam_eps(shape) / multiplier if self.eps == "scaled" else 1.0,
        )

    def _lr(self, shape: ParameterShape, family: Family, multiplier: float) -> float:
        m = fan_in_ratio(shape)
        if family == "muon":
            return muon_lr(shape, self.muon_scale, "mup") * multiplier
        if family == "adam":
            return multiplier / m if shape.role in ("hidden", "readout") else 1.0
        if shape.role == "hidden":
            return 1.0
        # A weight multiplied by 1/M in the forward pass needs M^2 times the SGD rate.
        return multiplier**2 / m if shape.role == "readout" else fan_out_ratio(shape)

    def attention_scale(self, head_width: int, base_head_width: int) -> float:
        """sqrt(base head width) / head width, or 1 / sqrt(head width)."""
        standard = 1.0 / math.sqrt(head_width)
        return standard * math.sqrt(base_head_width / head_width) if self.attention == "1/d" else standard

    def residual_scale(self, depth: int, base_depth: int) -> float:
        """1: muP has no rule for depth (see completep)."""
        return 1.0

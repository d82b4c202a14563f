"""CompleteP: muP (Table 8) in width, and residual branches scaled by depth, so that both transfer.

2505.01618, Table 1. With m_L = depth / base depth and alpha in [0.5, 1] (1 is CompleteP), inside residual
branches: branch output x m_L^-alpha, learning rate x m_L^(alpha - 1) (norm gains and biases too), Adam's eps
x m_L^-alpha; weight decay and init as in muP. Muon's rate has the same depth factor, since its update is
normalised as Adam's is; at alpha = 1 both have none (2512.05620, Table 1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from baselines.parametrizations._common import MuonScale, no_rule
from baselines.parametrizations.mup import MuP
from harness.methods.parametrization import ParameterShape, Scaling
from harness.methods.roles import Family
from harness.registry import register

FAMILIES = ("adam", "muon")


@register("parametrization")
@dataclass(frozen=True, kw_only=True)
class CompleteP:
    """muP with rules for depth; at base width and base depth the standard parametrization."""

    alpha: float = 1.0
    """Power of the depth on residual branches: 1 is CompleteP, 0.5 is depth-muP."""
    attention: Literal["1/d", "1/sqrt(d)"] = "1/d"
    """Attention logits: '1/d' equals 1/sqrt(d) at the base head width; '1/sqrt(d)' is the usual scale."""
    weight_decay: Literal["independent", "coupled"] = "independent"
    """'independent' undoes the width's LR factor (lambda x m, as published; the depth's factor is left);
    'coupled' leaves the coefficient alone."""
    eps: Literal["scaled", "constant"] = "scaled"
    """Adam's epsilon: 'scaled' follows the size of the gradient's entries, 'constant' does not."""
    muon_scale: MuonScale = "spectral"
    """Shape factor that a Muon optimizer applies itself; the LR factor makes up for the rest (see mup)."""
    embedding_std: float = 1.0
    """Standard deviation of the embedding's entries, constant in width."""
    hidden_gain: float = 1.0
    """Hidden matrices have standard deviation hidden_gain / sqrt(fan_in)."""
    readout_gain: float = 1.0
    """Standard deviation of the readout at the base width, times sqrt(base fan_in)."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.alpha <= 1.0:
            raise ValueError(f"completep: alpha must lie in [0.5, 1], got {self.alpha!r}")
        self._width_rule()

    def _width_rule(self) -> MuP:
        return MuP(
            form="table8",
            attention=self.attention,
            weight_decay=self.weight_decay,
            eps=self.eps,
            muon_scale=self.muon_scale,
            embedding_std=self.embedding_std,
            hidden_gain=self.hidden_gain,
            readout_gain=self.readout_gain,
        )

    def scaling(self, shape: ParameterShape, family: Family) -> Scaling:
        """Raises HarnessError for SGD, for which no depth rule is published, and for a vector under Muon."""
        if family not in FAMILIES:
            raise no_rule("completep", family, FAMILIES)
        width = self._width_rule().scaling(shape, family)
        if not shape.residual:
            return width
        depth = shape.depth / shape.base_depth
        eps = width.eps * depth**-self.alpha if self.eps == "scaled" else width.eps
        return replace(width, lr=width.lr * depth ** (self.alpha - 1.0), eps=eps)

    def attention_scale(self, head_width: int, base_head_width: int) -> float:
        """As in muP."""
        return self._width_rule().attention_scale(head_width, base_head_width)

    def residual_scale(self, depth: int, base_depth: int) -> float:
        """(depth / base depth) ** -alpha."""
        return (depth / base_depth) ** -self.alpha

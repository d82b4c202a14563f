"""A mixture of experts in the place of a feed-forward network: token choice, no token dropped, no fixed capacity.

Shapes: B sequences, T tokens, N = B T, D width, E experts, H width of an expert, P pairs (token, expert).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.methods.router import Router, Routing
from harness.models.blocks import FEED_FORWARDS, BlockArchitecture, Linear
from harness.models.operations import relu2
from harness.models.parameters import weight

LOGIT_STD = 1.0
"""Of the logits before training: a readout drawn at 1/sqrt(D), on inputs of unit RMS."""
GEOMETRIC_EPS = 1e-6
"""Added to the mean square of an expert's output where it is normalised."""


@dataclass(frozen=True, kw_only=True)
class MixtureArchitecture:
    """Sizes and choices of a mixture of experts."""

    number: int
    """Experts that are routed to."""
    width: int
    """Hidden channels of an expert."""
    active: float
    """Budget: mean experts a token."""
    shared: int = 0
    """Experts that run on every token, as one network of their common width."""
    form: Literal["plain", "geometric"] = "plain"
    """geometric: each expert's output has unit RMS before its gate (kexue.fm 10699)."""
    output_scale: float = 1.0
    """Factor on the sum of the routed experts."""


# --- dispatch and combine ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """Pairs (token, expert) in the order of experts."""

    token_P: Tensor
    """Token of each pair; pairs of one expert stand together, in the order of tokens."""
    ends_E: Tensor
    """Int32: where each expert's pairs end."""


def dispatch(chosen_NE: Tensor) -> Dispatch:
    """The order of pairs of a choice, without a sort and for any number of experts a token."""
    ends_E = chosen_NE.sum(0, dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return Dispatch(token_P=chosen_NE.t().nonzero()[:, 1], ends_E=ends_E)


def combine(y_PD: Tensor, gates_NE: Tensor, chosen_NE: Tensor, order: Dispatch, each: int | None) -> Tensor:
    """(N, D): sum over each token's pairs of gate times output, always in the order of experts.

    ``each``: how many pairs every token has, where all have as many; None: any number, also none. Both forms add in
    one order: the same bits.
    """
    if y_PD.device.type == "cpu":
        weighed_PD = y_PD * gates_NE.t()[chosen_NE.t()][:, None]
        return weighed_PD.new_zeros(len(chosen_NE), y_PD.shape[1]).index_add(0, order.token_P, weighed_PD)
    return combine_by_tokens(y_PD, gates_NE, chosen_NE, order, each)


def combine_by_tokens(
    y_PD: Tensor, gates_NE: Tensor, chosen_NE: Tensor, order: Dispatch, each: int | None
) -> Tensor:
    """``combine`` by bringing pairs into the order of tokens first: where index_add's order is left to chance."""
    # For pairs in the order of tokens: their place in the order of experts.
    counts_E = torch.diff(order.ends_E, prepend=order.ends_E.new_zeros(1))
    place_NE = chosen_NE.cumsum(0, dtype=torch.int32) + (order.ends_E - counts_E - 1)
    weighed_PD = y_PD[place_NE[chosen_NE].long()] * gates_NE[chosen_NE][:, None]
    if each is not None:
        return weighed_PD.view(len(chosen_NE), each, -1).sum(1)
    return torch.segment_reduce(weighed_PD, "sum", lengths=chosen_NE.sum(1), initial=0)


def grouped(x_PK: Tensor, weight_EMK: Tensor, ends_E: Tensor) -> Tensor:
    """(P, M): each expert's pairs times the transpose of its matrix."""
    if x_PK.dtype in (torch.float32, torch.bfloat16, torch.float16) and x_PK.shape[0]:
        return F.grouped_mm(x_PK, weight_EMK.transpose(-2, -1), offs=ends_E)
    # float64, which grouped_mm refuses: for oracles.
    pieces, start = [], 0
    for matrix_MK, end in zip(weight_EMK, ends_E.tolist(), strict=True):
        pieces.append(x_PK[start:end] @ matrix_MK.t())
        start = end
    return torch.cat(pieces)


# --- the layer ---------------------------------------------------------------------------------------------


class Stack(nn.Module):
    """One matrix for each expert, (E, fan_out, fan_in); the optimizer treats each as a matrix of its own."""

    def __init__(self, shape: tuple[int, int, int], zero_init: bool = False) -> None:
        super().__init__()
        self.weight = weight(shape, "hidden", residual=True, zero_init=zero_init)
        self.multiplier = 1.0

    def forward(self, x_PK: Tensor, ends_E: Tensor) -> Tensor:
        y = grouped(x_PK, self.weight.to(x_PK.dtype), ends_E)
        return y if self.multiplier == 1.0 else y * self.multiplier


class State(nn.Module):
    """A router's state as float32 buffers: checkpoints hold them, autocast leaves them alone."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in values.items():
            self.register_buffer(name, value.float())

    def values(self) -> dict[str, Tensor]:
        """Name -> tensor."""
        return dict(self.named_buffers())

    @torch.no_grad()
    def replace(self, values: Mapping[str, Tensor]) -> None:
        """Set every buffer in place."""
        for name, buffer in self.named_buffers():
            assert buffer.dtype == torch.float32, f"router state {name!r} is {buffer.dtype}"
            buffer.copy_(values[name])


class MixtureOfExperts(nn.Module):
    """Gates times the outputs of the experts that a router chooses, and a shared network if there is one.

    In training, and in training alone, it adds up what the router's update needs; :meth:`update` is called once a
    step, after the optimizer's. ``listen`` is told every routing, e.g. in an evaluation.
    """

    def __init__(self, a: BlockArchitecture, m: MixtureArchitecture, router: Router) -> None:
        super().__init__()
        D, E, H = a.width, m.number, m.width
        self.mixture, self.router, self.gated = m, router, a.feed_forward == "swiglu"
        self.scores = Linear((E, D), "readout")
        if self.gated:
            self.gate = Stack((E, H, D))
        self.up = Stack((E, H, D))
        self.down = Stack((E, D, H), zero_init=a.zero_residual)
        self.shared = FEED_FORWARDS[a.feed_forward](D, m.shared * H, a.zero_residual) if m.shared else None
        with torch.device("cpu"):  # also where a base model is laid out without memory
            state = router.init(E, m.active, LOGIT_STD)
        self.state = State(state)
        self.sums: dict[str, Tensor] = {}
        """Of the present step, over its parts."""
        self.loss: Tensor | None = None
        """The router's loss of the last forward pass in training."""
        self.listen: Callable[[Routing], None] | None = None

    @torch.compiler.disable
    def forward(self, x_BTD: Tensor) -> Tensor:
        with torch.autocast(x_BTD.device.type, enabled=False):
            # A choice hangs on small differences: float32, whatever the products are in.
            logits_BTE = self.scores(x_BTD if x_BTD.dtype == torch.float64 else x_BTD.float())
            routing = self.router.route(logits_BTE, self.state.values(), self.mixture.active)
        self._note(routing)
        x_ND = x_BTD.flatten(0, 1)
        y_ND = self._routed(x_ND, routing)
        if self.mixture.output_scale != 1.0:
            y_ND = y_ND * self.mixture.output_scale
        if self.shared is not None:
            y_ND = y_ND + self.shared(x_ND)
        return y_ND.to(x_BTD.dtype).view(x_BTD.shape)

    def _routed(self, x_ND: Tensor, routing: Routing) -> Tensor:
        device = x_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_ND.dtype
        with torch.autocast(device, enabled=False):
            order = dispatch(routing.chosen_NE)
            y_PD = self.experts(x_ND.to(dtype)[order.token_P], order.ends_E)
            y_PD = y_PD if y_PD.dtype == torch.float64 else y_PD.float()
            if self.mixture.form == "geometric":
                y_PD = y_PD * (y_PD.square().mean(-1, keepdim=True) + GEOMETRIC_EPS).rsqrt()
            each = int(self.mixture.active) if self.router.fixed else None
            return combine(y_PD, routing.gates_NE, routing.chosen_NE, order, each)

    def experts(self, x_PD: Tensor, ends_E: Tensor) -> Tensor:
        """Outputs of the experts for these inputs, (P, D), those of each expert in a row; ``ends_E`` says which."""
        up_PH = self.up(x_PD, ends_E)
        hidden_PH = F.silu(self.gate(x_PD, ends_E)) * up_PH if self.gated else relu2(up_PH)
        return self.down(hidden_PH, ends_E)

    def _note(self, routing: Routing) -> None:
        if self.listen is not None:
            self.listen(routing)
        if not self.training:
            return
        self.loss = routing.loss
        for name, value in routing.sums.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    @torch.no_grad()
    def update(self, num_tokens: int) -> Tensor:
        """The router's state for the next step, from the tokens of this one; returns their counts, (E,) int64."""
        counts = self.sums["counts"]
        state = self.state.values()
        self.state.replace(self.router.update(state, self.sums, num_tokens, self.mixture.active))
        self.sums, self.loss = {}, None
        return counts


def mixtures(model: nn.Module) -> list[MixtureOfExperts]:
    """The mixtures of a model, in the order of its blocks."""
    return [m for m in model.modules() if isinstance(m, MixtureOfExperts)]


def losses(layers: list[MixtureOfExperts]) -> Iterator[Tensor]:
    """The routers' losses of the last forward pass in training."""
    yield from (layer.loss for layer in layers if layer.loss is not None)

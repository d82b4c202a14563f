"""A UNet that denoises images at any noise level: v-prediction (2202.00512), told the log signal-to-noise ratio.

    x_t = sqrt(a) x0 + sqrt(1 - a) e,   v = sqrt(a) e - sqrt(1 - a) x0,   x0 = sqrt(a) x_t - sqrt(1 - a) v

It knows no schedule: ln(a / (1 - a)) enters as sines and cosines, so any steps run on it. Squares of pixels are
folded into channels first (pixel unshuffle), so that its widest feature maps have half the image's sides.

A share of x_t itself, learned for each noise level, passes by the network: most of what is fine in x_t is
noise, which v holds at a gain from 0 to sqrt(a / (1 - a)). Without it, and with a norm before the readout,
images whose mean is far from 0 hid the noise from the network: after 300 steps the loss was .46, now it is .27.
Before training it predicts v = 0, which is x0 = sqrt(a) x_t.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.models.denoiser_size import DenoiserSize
from harness.streams import Streams

LOG_SNR_SCALE = 10.0
"""Log signal-to-noise ratios lie within about this of 0: the slowest sine goes round once from end to end."""
FASTEST = 16.0
"""Frequency of the fastest sine over that of the slowest."""


class UNet(nn.Module):
    """Images in [-1, 1] behind noise to v."""

    rates: Tensor

    def __init__(self, size: DenoiserSize) -> None:
        super().__init__()
        self.size = size
        told = size.widths[0]
        self.told = nn.Linear(2 * size.frequencies, told)
        self.first = _conv(size.folded, size.widths[0])
        self.down = nn.ModuleList(_blocks(w, told, size) for w in size.widths)
        self.shrink = nn.ModuleList(_conv(a, b, stride=2) for a, b in _pairs(size))
        self.grow = nn.ModuleList(_conv(b, a) for a, b in _pairs(size))
        self.up = nn.ModuleList(_blocks(w, told, size) for w in size.widths)
        self.passed = nn.Linear(told, 1)
        self.readout = _conv(size.widths[0], size.folded)
        steps = torch.arange(size.frequencies) / max(1, size.frequencies - 1)
        self.register_buffer("rates", math.pi / LOG_SNR_SCALE * FASTEST**steps, persistent=False)
        # Channels last: a fifth less time a pass on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x_BCHW: Tensor, log_snr_B: Tensor) -> Tensor:
        """v (B, 3, H, W) of images whose sides are multiples of ``size.multiple``, each at its noise level."""
        angles = log_snr_B[:, None] * self.rates
        told_BE = F.silu(self.told(torch.cat([angles.sin(), angles.cos()], dim=1)))
        folded = F.pixel_unshuffle(x_BCHW, self.size.patch).contiguous(memory_format=torch.channels_last)
        x, skips = self.first(folded), []
        for level, shrink in enumerate(self.shrink):
            x = _through(self.down[level], x, told_BE)
            skips.append(x)
            x = shrink(x)
        x = _through(self.up[-1], _through(self.down[-1], x, told_BE), told_BE)
        for level in reversed(range(len(self.grow))):
            x = self.grow[level](F.interpolate(x, scale_factor=2, mode="nearest")) + skips[level]
            x = _through(self.up[level], x, told_BE)
        own = F.pixel_shuffle(self.readout(F.silu(x)), self.size.patch)
        return own + self.passed(told_BE)[:, :, None, None] * x_BCHW


class Block(nn.Module):
    """x + conv(silu(scale norm(conv(silu(norm(x)))) + shift)), scale and shift by the noise level."""

    def __init__(self, width: int, told: int, groups: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(groups, width) for _ in range(2))
        self.convs = nn.ModuleList(_conv(width, width) for _ in range(2))
        self.modulation = nn.Linear(told, 2 * width)

    def forward(self, x_BCHW: Tensor, told_BE: Tensor) -> Tensor:
        """The same shape."""
        h = self.convs[0](F.silu(self.norms[0](x_BCHW)))
        scale, shift = self.modulation(told_BE)[:, :, None, None].chunk(2, dim=1)
        return x_BCHW + self.convs[1](F.silu(torch.addcmul(shift, self.norms[1](h), 1 + scale)))


@torch.no_grad()
def initialise(model: UNet, streams: Streams) -> None:
    """Weights of variance 1 / fan-in by (seed, name); zero for branches' last maps, the readout, what passes by."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            # Those of one axis are the norms' gains, and biases.
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        elif name.endswith(("convs.1.weight", "readout.weight", "modulation.weight", "passed.weight")):
            parameter.zero_()
        else:
            fan_in = parameter[0].numel()
            parameter.copy_(streams.normal("init", name, tuple(parameter.shape)).div_(math.sqrt(fan_in)))


def clean(x_BCHW: Tensor, v_BCHW: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """x0 of v: sqrt(a) x_t - sqrt(1 - a) v. ``alpha_bar``: a number, or broadcast over the images."""
    a = torch.as_tensor(alpha_bar, dtype=torch.float64, device=x_BCHW.device)
    return a.sqrt().float() * x_BCHW - (1 - a).sqrt().float() * v_BCHW


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def _blocks(width: int, told: int, size: DenoiserSize) -> nn.ModuleList:
    return nn.ModuleList(Block(width, told, size.groups) for _ in range(size.blocks))


def _pairs(size: DenoiserSize) -> list[tuple[int, int]]:
    return list(pairwise(size.widths))


def _through(blocks: nn.Module, x: Tensor, told_BE: Tensor) -> Tensor:
    for block in blocks.children():
        x = block(x, told_BE)
    return x

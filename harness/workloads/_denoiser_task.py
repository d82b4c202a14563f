"""What the training loop needs of a denoiser: network with its average, crops behind noise, losses."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.photographs import Crops, held_out, training
from harness.methods.construct import build
from harness.methods.modes import evaluating, set_training
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Role
from harness.models.denoiser import UNet, clean, initialise
from harness.outcome import Table
from harness.streams import Streams
from harness.workloads._denoiser_sections import Config
from harness.workloads._task import usable_device

BETA_FIRST, BETA_LAST = 0.1, 20.0
"""Rates of noise at both ends of the schedule of DDPM in continuous time (2011.13456, eq. 33)."""
LEVELS = 8
"""Noise levels of a held-out tile, at the middles of as many equal parts of the time."""
TILES_AT_ONCE = {"cpu": 8, "cuda": 256}
"""Tiles of one forward pass in evaluation."""


class Noisy(NamedTuple):
    """Crops behind noise."""

    clean_BCHW: Tensor
    noise_BCHW: Tensor
    alpha_bar_B: Tensor
    """Share of the signal's variance in each, float64."""

    def seen(self) -> Tensor:
        """sqrt(a) x0 + sqrt(1 - a) e."""
        a = self.alpha_bar_B[:, None, None, None]
        return a.sqrt().float() * self.clean_BCHW + (1 - a).sqrt().float() * self.noise_BCHW

    def v(self) -> Tensor:
        """sqrt(a) e - sqrt(1 - a) x0."""
        a = self.alpha_bar_B[:, None, None, None]
        return a.sqrt().float() * self.noise_BCHW - (1 - a).sqrt().float() * self.clean_BCHW

    def log_snr(self) -> Tensor:
        """ln(a / (1 - a)) of each."""
        return (self.alpha_bar_B.log() - torch.log1p(-self.alpha_bar_B)).float()


class Averaged(nn.Module):
    """A network and the moving average of its weights, which answers in evaluation mode."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)

    def forward(self, x_BCHW: Tensor, log_snr_B: Tensor) -> Tensor:
        """v of either."""
        return (self.network if self.training else self.average)(x_BCHW, log_snr_B)

    @torch.no_grad()
    def update(self, step: int, decay: float) -> None:
        """After ``step`` (from 0); early averages forget faster, lest they hold on to the first weights."""
        decay = min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)


def alpha_bar(time_B: np.ndarray) -> np.ndarray:
    """Share of the signal's variance at times in (0, 1), float64 (2011.13456, eq. 33)."""
    return np.exp(-time_B * (BETA_FIRST + 0.5 * (BETA_LAST - BETA_FIRST) * time_B))


class DenoiserTask:
    """See harness.training.Task."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config, self.steps = config, config.steps
        self.device = usable_device(config.compute)
        self.streams = Streams(seed, f"widths={list(config.model.widths)},blocks={config.model.blocks}")
        self.torch_seed = self.streams.key("torch") % 2**63
        photographs = config.photographs
        self._train = Crops(training(photographs.fold), photographs.sides, photographs.crop)
        self._held = Crops(held_out(photographs.fold), photographs.sides, photographs.crop)
        network = UNet(config.model)
        initialise(network, self.streams)
        self.model = Averaged(network).to(self.device)
        self.groups = _groups(self.model.network)
        self.optimizer: torch.optim.Optimizer = build("optimizer", config.optimizer, "optimizer").build(self.groups)
        set_training(self.optimizer)
        self._fixed: dict[str, Noisy] = {}
        self.trivial_loss = self._trivial_loss()

    # --- what it learns from ---------------------------------------------------------------------------------

    def batch(self, step: int, part: int) -> Noisy:
        """Part ``part`` of a step's crops; their times lie one in each of as many equal parts of (0, 1)."""
        t, crop = self.config.training, self.config.photographs.crop
        pixels = self._train.drawn(self.streams, step, t.batch_size)
        shift = float(self.streams.integers("time", step, 1 << 31, 1)[0]) / (1 << 31)
        times = (np.arange(t.batch_size) + shift) / t.batch_size
        noise = self.streams.normal("noise", step, (t.batch_size, 3, crop, crop))
        share = t.batch_size // t.gradient_accumulation
        # A part holds every how manyth crop, so that each has all noise levels.
        mine = slice(part, part + t.gradient_accumulation * share, t.gradient_accumulation)
        return self._noisy(pixels[mine], noise[mine], times[mine])

    def held_out(self, split: str) -> Noisy:
        """The tiles of ``validation`` or ``test``, evenly over what there is, each at every level: tile by tile."""
        if split not in self._fixed:
            t = self.config.training
            tiles = self._held.tiles(int(split == "test"))
            count = min(len(tiles), t.test_tokens if split == "test" else t.evaluation_tokens)
            tiles = tiles[np.linspace(0, len(tiles) - 1, count).round().astype(int)]
            levels = (np.arange(LEVELS) + 0.5) / LEVELS
            noise = Streams(0, split).normal("noise", "", (count * LEVELS, 3, *tiles.shape[1:3]))
            self._fixed[split] = self._noisy(np.repeat(tiles, LEVELS, axis=0), noise, np.tile(levels, count))
        return self._fixed[split]

    def _noisy(self, pixels: np.ndarray, noise: Tensor, times: np.ndarray) -> Noisy:
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float().div_(127.5).sub_(1.0)
        shares = torch.from_numpy(alpha_bar(times))
        return Noisy(images.to(self.device), noise.to(self.device), shares.to(self.device))

    def _trivial_loss(self) -> float:
        """Mean square of v over training crops: E[a] + E[1 - a] E[x0^2], a over uniform times."""
        times = (np.arange(1000) + 0.5) / 1000
        signal = float(alpha_bar(times).mean())
        return signal + (1 - signal) * self._train.mean_square()

    # --- losses ------------------------------------------------------------------------------------------------

    def autocast(self) -> AbstractContextManager[Any]:
        """The trial's number format."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.compute.dtype == "bfloat16"
        )

    def loss(self, batch: Noisy) -> Tensor:
        """Mean square error of v."""
        with self.autocast():
            v = self.model(batch.seen(), batch.log_snr())
        return (v.float() - batch.v()).square().mean()

    def after_step(self, step: int) -> None:
        """Moves the average on."""
        self.model.update(step, self.config.average)

    def evaluate(self, split: str) -> float:
        """Mean square error of v over the split's tiles and levels, by the averaged weights."""
        return float(self._errors(split)[0].mean())

    def test(self) -> tuple[float, Mapping[str, Table]]:
        """``evaluate("test")``, and both errors level by level."""
        of_v, of_image = self._errors("test")
        shares = alpha_bar((np.arange(LEVELS) + 0.5) / LEVELS)
        rows = [
            [math.log(a) - math.log1p(-a), float(of_v[:, i].mean()), float(of_image[:, i].mean())]
            for i, a in enumerate(shares.tolist())
        ]
        about = {"mse": "of the image in [-1, 1]", "tiles": len(of_v)}
        return float(of_v.mean()), {"levels": Table(columns=["log_snr", "loss", "mse"], rows=rows, about=about)}

    @torch.no_grad()
    def _errors(self, split: str) -> tuple[Tensor, Tensor]:
        """Mean square errors (tiles, LEVELS) of v and of the image, float64."""
        held, of_v, of_image = self.held_out(split), [], []
        with evaluating(self.model, self.optimizer), self.autocast():
            for start in range(0, len(held.clean_BCHW), TILES_AT_ONCE[self.device.type]):
                part = Noisy(*(t[start : start + TILES_AT_ONCE[self.device.type]] for t in held))
                seen = part.seen()
                v = self.model(seen, part.log_snr()).float()
                found = clean(seen, v, part.alpha_bar_B[:, None, None, None])
                of_v.append((v - part.v()).double().square().mean((1, 2, 3)))
                of_image.append((found - part.clean_BCHW).double().square().mean((1, 2, 3)))
        return torch.cat(of_v).view(-1, LEVELS).cpu(), torch.cat(of_image).view(-1, LEVELS).cpu()

    # --- for probes ----------------------------------------------------------------------------------------------

    def probe_batch(self, size: int) -> tuple[Tensor, Tensor]:
        """``size`` held-out tiles behind noise, and their noise levels."""
        held = self.held_out("validation")
        return held.seen()[:size], held.log_snr()[:size]

    @torch.no_grad()
    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """v by the averaged weights."""
        with evaluating(self.model, self.optimizer), self.autocast():
            return self.model(*inputs)


def _groups(network: UNet) -> list[ParameterGroup]:
    """Filters and maps apart from gains and biases, each with those of equal fans."""
    groups: dict[tuple[Role, int, int], ParameterGroup] = {}
    for name, parameter in network.named_parameters():
        matrix = parameter.ndim > 1
        role: Role = "hidden" if matrix else "vector"
        key = (role, parameter[0].numel() if matrix else 1, len(parameter))
        if key not in groups:
            groups[key] = ParameterGroup(role=role, names=[], parameters=[], fan_in=key[1], fan_out=key[2])
        groups[key].names.append(name)
        groups[key].parameters.append(parameter)
    return list(groups.values())

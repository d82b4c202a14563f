"""A trained UNet: what a trial of the workload image_denoiser left in its artifact folder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.methods import denoiser_files
from harness.registry import register


@register("denoiser")
@dataclass(frozen=True, kw_only=True)
class UNet:
    """E[x0 | x] by a network that was trained on photographs."""

    folder: str = ""
    """Artifact folder with denoiser.safetensors and denoiser.json."""

    @classmethod
    def example(cls) -> UNet:
        """One that was not trained, to be checked: it predicts v = 0."""
        return _Untrained()

    @property
    def multiple(self) -> int:
        """Sides of its images are multiples of this; a codec mirrors others up to one."""
        return self._opened.network.size.multiple

    @property
    def digest(self) -> bytes:
        """Over weights and sizes, as the folder's file says and reading has checked."""
        return self._opened.digest

    @torch.inference_mode()
    def predict(self, x_BCHW: Tensor, alpha_bar: float) -> Tensor:
        """sqrt(a) x - sqrt(1 - a) v, v from the network told ln(a / (1 - a))."""
        log_snr = math.log(alpha_bar) - math.log1p(-alpha_bar)
        v_BCHW = self._opened.network(x_BCHW, x_BCHW.new_full((len(x_BCHW),), log_snr))
        return (x_BCHW * math.sqrt(alpha_bar)).sub_(v_BCHW, alpha=math.sqrt(1 - alpha_bar)).contiguous()

    @property
    def _opened(self) -> denoiser_files.Opened:
        if not self.folder:
            raise HarnessError(
                "denoiser 'unet' needs its folder: give folder=PATH, the artifact folder of a finished "
                "image_denoiser trial"
            )
        return _read(self.folder)


@lru_cache(maxsize=4)
def _read(folder: str) -> denoiser_files.Opened:
    return denoiser_files.read(Path(folder))


class _Untrained(UNet):
    """A network with its first weights, which no folder holds."""

    @property
    def _opened(self) -> denoiser_files.Opened:
        return _untrained()


@lru_cache(maxsize=1)
def _untrained() -> denoiser_files.Opened:
    return denoiser_files.untrained()

"""Config of the workload image_denoiser. No torch here: plans read it."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, Field, model_validator

from harness.data.photographs import FOLDS, PHOTOGRAPHS
from harness.models.denoiser_size import DenoiserSize
from harness.workloads._sections import FROZEN, Compute, Training


class Photographs(BaseModel):
    """What is cropped."""

    model_config = FROZEN

    fold: str = "a"
    """The fold whose photographs are held out: a or b."""
    crop: int = Field(default=64, ge=8)
    """Side of a crop, pixels."""
    sides: tuple[int, ...] = Field(default=(96, 128, 192, 256), min_length=1)
    """Shorter sides that photographs are reduced to, each before it is cropped."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fold not in FOLDS:
            raise ValueError(f"fold {self.fold!r}: give one of {', '.join(FOLDS)}")
        most = min(min(p.size) for p in PHOTOGRAPHS)
        if not self.crop <= min(self.sides) <= max(self.sides) <= most:
            raise ValueError(
                f"sides {list(self.sides)} must lie between the crop, {self.crop}, and the shortest side of a "
                f"photograph, {most}"
            )
        return self


class Config(BaseModel):
    """A denoiser's training. Images are crops: ``training.tokens`` and the like count them."""

    model_config = FROZEN

    photographs: Photographs = Field(default=Photographs())
    """What it learns from, and what it must never see."""
    model: DenoiserSize = Field(default=DenoiserSize())
    """The network."""
    training: Training
    """How long and on which schedule."""
    optimizer: dict[str, Any] = Field(default={"name": "adamw", "lr": 0.002, "weight_decay": 0.0, "beta2": 0.99})
    """An optimizer: name and fields."""
    average: float = Field(default=0.995, ge=0, lt=1)
    """Decay a step of the weights' moving average, which is what is evaluated and kept."""
    compute: Compute = Field(default=Compute())
    """Device, threads, number format."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.photographs.crop % self.model.multiple:
            raise ValueError(
                f"photographs.crop {self.photographs.crop} is no multiple of {self.model.multiple}, which the "
                "network's levels need; give one"
            )
        if self.training.tokens_per_parameter is not None:
            raise ValueError("training.tokens_per_parameter is for texts; give steps, or tokens (crops)")
        if self.compute.compile:
            raise ValueError("compute.compile is not offered for denoisers; leave it false")
        return self

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return self.training.num_steps(self.training.batch_size, 0)

"""Config of a language model with a mixture of experts in every block. No torch here: plans read these."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from harness.models.mixture_size import MixtureSize
from harness.workloads._language_sections import Config as LanguageConfig
from harness.workloads._sections import FROZEN

MULTIPLES = {"float32": 4, "bfloat16": 8}
"""What the widths of grouped products are multiples of: rows of 16 bytes."""


class Experts(BaseModel):
    """The mixture of experts that stands in the place of each block's feed-forward network."""

    model_config = FROZEN

    number: int = Field(ge=1, le=4096)
    """Experts that are routed to."""
    width: int = Field(gt=0)
    """Hidden channels of an expert."""
    active: float = Field(gt=0)
    """Budget: experts a token, or their mean where the router's number varies."""
    shared: int = Field(default=0, ge=0)
    """Experts that run on every token, as one network of their common width."""
    form: Literal["plain", "geometric"] = "plain"
    """geometric: each expert's output has unit RMS before its gate (kexue.fm 10699)."""
    output_scale: float = Field(default=1.0, gt=0)
    """Factor on the sum of the routed experts."""

    @model_validator(mode="after")
    def _budget(self) -> Self:
        if self.active > self.number:
            raise ValueError(f"active {self.active:g} is above the number of experts, {self.number}")
        return self


class Config(LanguageConfig):
    """A trial of a language model with experts."""

    experts: Experts | None
    """The mixture; null: the dense network of ``model``, for comparison."""
    router: dict[str, Any] | None = None
    """A router: name and fields; null with experts null."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.experts is None) != (self.router is None):
            given, missing = ("experts", "router") if self.router is None else ("router", "experts")
            raise ValueError(f"{given} without {missing}: give both, or null for both (a dense network)")
        if self.experts is None or self.router is None:
            return self
        multiple = MULTIPLES[self.compute.dtype]
        for name, width in (("model.width", self.model.width), ("experts.width", self.experts.width)):
            if width % multiple:
                below, above = width // multiple * multiple, (width // multiple + 1) * multiple
                valid = f"{below} or {above}" if below else f"{above}"
                raise ValueError(
                    f"{name} {width} is no multiple of {multiple}, as {self.compute.dtype} products of experts "
                    f"need; give {valid}"
                )
        batch = self.router.get("name") == "auxiliary_loss" and self.router.get("scope", "batch") == "batch"
        if batch and self.training.gradient_accumulation > 1:
            raise ValueError(
                f"router auxiliary_loss of scope 'batch' with gradient_accumulation "
                f"{self.training.gradient_accumulation}: it would see a part of the batch; give scope: sequence, "
                "or gradient_accumulation: 1"
            )
        return self

    def size(self, vocab_size: int) -> MixtureSize:
        """What its FLOPs depend on."""
        assert self.experts is not None
        return MixtureSize(
            vocab_size=vocab_size, width=self.model.width, depth=self.model.depth,
            num_experts=self.experts.number, expert_width=self.experts.width, shared=self.experts.shared,
            feed_forward=self.model.feed_forward,
        )  # fmt: skip

    @property
    def steps(self) -> int:
        """Optimizer steps; tokens_per_parameter counts the parameters that a token meets at the budget."""
        if self.experts is None:
            return super().steps
        parameters = self.size(0).active_parameters(self.experts.active)
        return self.training.num_steps(self.tokens_per_step, round(parameters))

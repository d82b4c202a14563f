"""Config of workloads that learn to predict the next token. No torch here: plans read these."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, Field, model_validator

from harness.models.transformer_size import TransformerSize
from harness.workloads._sections import FROZEN, Compute, Network, Training


class Model(Network):
    """Decoder-only transformer: pre-norm, rotary positions, untied readout, no biases."""

    context: int = Field(default=128, gt=0)
    """Tokens of a sequence."""
    embedding_scalar: bool | None = None
    """Whether a trained scalar, sqrt(width) at the start, follows the embedding; null: as the norm wants."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.head_width % 2:
            raise ValueError(f"head_width {self.head_width} is odd; rotary positions turn pairs: give an even one")
        self._check_heads(even=True)
        return self

    def size(self, vocab_size: int) -> TransformerSize:
        """What its FLOPs depend on."""
        return TransformerSize(
            vocab_size=vocab_size, width=self.width, depth=self.depth,
            feed_forward_width=self.feed_forward_width, feed_forward=self.feed_forward,
        )


class Config(BaseModel):
    """A language-model trial."""

    model_config = FROZEN

    model: Model
    """The network."""
    data: dict[str, Any] = Field(default={"name": "python_sources"})
    """The corpus and its tokenizer (see ``harness data``)."""
    training: Training
    """How long and on which schedule."""
    optimizer: dict[str, Any]
    """An optimizer: name and fields."""
    parametrization: dict[str, Any] = Field(default={"name": "standard"})
    """Initial scales and multipliers: name and fields."""
    norm: dict[str, Any] = Field(default={"name": "rmsnorm"})
    """Normalisation: name and fields."""
    compute: Compute = Field(default=Compute())
    """Device, threads, number format."""

    @property
    def tokens_per_step(self) -> int:
        return self.training.batch_size * self.model.context

    @property
    def steps(self) -> int:
        """Optimizer steps; the number of parameters meant by tokens_per_parameter knows no vocabulary."""
        return self.training.num_steps(self.tokens_per_step, self.model.size(0).matrix_parameters)

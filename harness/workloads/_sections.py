"""Config sections that workloads on the training loop share. No torch here: plans read these."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FROZEN = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Training(BaseModel):
    """How long, in what batches, on which schedule. Give one of tokens, tokens_per_parameter and steps."""

    model_config = FROZEN

    tokens: int | None = Field(default=None, gt=0)
    """Training tokens in all (images, for workloads on images)."""
    tokens_per_parameter: float | None = Field(default=None, gt=0)
    """Training tokens over non-embedding parameters (matrices of the blocks)."""
    steps: int | None = Field(default=None, gt=0)
    """Optimizer steps."""
    batch_size: int = Field(default=16, gt=0)
    """Sequences (images) an optimizer step."""
    gradient_accumulation: int = Field(default=1, gt=0)
    """Parts that a batch is computed in, one after the other."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Form of the learning rate's decay after warm-up."""
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises linearly from 0 to its peak."""
    end_lr_share: float = Field(default=0.0, ge=0, le=1)
    """Learning rate after the last step, as a share of the peak."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest global norm of the gradient; null: no clipping."""
    evaluations: int = Field(default=10, ge=1)
    """Evenly spaced points of the validation curve, the last at the end of training."""
    evaluation_tokens: int = Field(default=65_536, gt=0)
    """Validation tokens (images) at each point: fixed windows, the same for all trials."""
    test_tokens: int = Field(default=262_144, gt=0)
    """Test tokens (images), read once at the end: fixed windows, the same for all trials."""
    divergence_factor: float = Field(default=3.0, gt=1)
    """A training loss above this many times the trivial loss counts as diverged."""

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        lengths = {k: getattr(self, k) for k in ("tokens", "tokens_per_parameter", "steps")}
        given = {k: v for k, v in lengths.items() if v is not None}
        if len(given) != 1:
            listed = " and ".join(f"{k} {v:g}" for k, v in given.items()) or "none of them"
            raise ValueError(
                f"give exactly one of {', '.join(lengths)} (got {listed}); set the others to null"
            )
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} is not divisible by gradient_accumulation "
                f"{self.gradient_accumulation}; valid: {_divisors(self.batch_size)}"
            )
        return self

    def num_steps(self, tokens_per_step: int, parameters: int) -> int:
        """Optimizer steps (at least 1), rounded to the nearest."""
        if self.steps is not None:
            return self.steps
        if self.tokens is not None:
            return max(1, round(self.tokens / tokens_per_step))
        assert self.tokens_per_parameter is not None
        return max(1, round(self.tokens_per_parameter * parameters / tokens_per_step))


class Compute(BaseModel):
    """What a trial runs on. Part of its identity: losses differ in their last digits between these."""

    model_config = FROZEN

    device: Literal["cpu", "cuda"] = "cpu"
    """Kind of device."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of the trial."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast; weights, gradients and optimizer state stay float32."""
    compile: bool = False
    """Whether the training step goes through torch.compile (10 s or more at first use)."""


def _divisors(n: int) -> str:
    return ", ".join(str(i) for i in range(1, n + 1) if n % i == 0)

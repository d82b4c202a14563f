"""Config sections that workloads on the training loop share. No torch here: plans read these."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FROZEN = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Training(BaseModel):
    """How long, in what batches, on which schedule. Give one of tokens, tokens_per_parameter and steps."""

    model_config = FROZEN

    tokens: int | None = Field(default=None, gt=0, le=10**15)
    """Training tokens in all (images, for workloads on images)."""
    tokens_per_parameter: float | None = Field(default=None, gt=0)
    """Training tokens over non-embedding parameters (matrices of the blocks)."""
    steps: int | None = Field(default=None, gt=0, le=10**9)
    """Optimizer steps."""
    batch_size: int = Field(default=16, gt=0, le=10**7)
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


class Network(BaseModel):
    """A network of residual blocks, and the base shape that its parametrization scales from."""

    model_config = FROZEN

    width: int = Field(gt=0)
    """Channels of the residual stream."""
    depth: int = Field(gt=0)
    """Blocks, each an attention and a feed-forward branch."""
    head_width: int = Field(default=16, gt=0)
    """Channels of a head; divides the width."""
    feed_forward: Literal["relu2", "swiglu"] = "relu2"
    """relu2: down(relu(up x)^2). swiglu: down(silu(gate x) * up x)."""
    feed_forward_ratio: float = Field(default=4.0, gt=0)
    """Feed-forward width over width (rounded to a whole number of channels)."""
    qk_norm: bool = True
    """Whether queries and keys are divided by their RMS, head by head."""
    zero_readout: bool = False
    """Whether the readout starts at zero, so that the first loss is the trivial one at every width."""
    zero_query: bool = False
    """Whether the query projections start at zero; meant for qk_norm false (a norm has no slope at zero)."""
    zero_residual: bool = False
    """Whether the last matrix of each branch starts at zero."""
    base_width: int | None = Field(default=None, gt=0)
    """Width at which the parametrization equals the standard one; null: the model's own."""
    base_depth: int | None = Field(default=None, gt=0)
    """Depth at which the parametrization equals the standard one; null: the model's own."""
    base_head_width: int | None = Field(default=None, gt=0)
    """Head width at which the parametrization's attention scale is the standard one; null: the model's own."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_heads(even=False)
        return self

    def _check_heads(self, even: bool) -> None:
        """ValueError unless heads (of even width, if so asked) divide the width, and base heads the base width."""
        step = 2 if even else 1
        if self.width % self.head_width:
            valid = [h for h in range(step, self.width + 1, step) if self.width % h == 0]
            raise ValueError(
                f"width {self.width} is not divisible by head_width {self.head_width}; valid head widths for "
                f"this width: {', '.join(map(str, valid)) or 'none (the width is odd)'}"
            )
        width, head_width = self.base.width, self.base.head_width
        if width % head_width or head_width % step:
            raise ValueError(
                f"base_width {width} is not divisible by head width {head_width}; give a base_width that is "
                f"a multiple of it, or a base_head_width{' (even)' if even else ''} that divides it"
            )

    @property
    def base(self) -> Self:
        """The same section at the base width, depth and head width."""
        width = self.base_width or self.width
        return self.model_copy(update={
            "width": width, "depth": self.base_depth or self.depth,
            "head_width": min(self.base_head_width or self.head_width, width),
        })  # fmt: skip

    @property
    def feed_forward_width(self) -> int:
        """Hidden channels of the feed-forward module, at least 1."""
        return max(1, round(self.feed_forward_ratio * self.width))


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

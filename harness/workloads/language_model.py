"""Language modelling: a decoder-only transformer learns to predict the next token of a text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from harness.methods.construct import build
from harness.models.transformer_size import TransformerSize, training_flops
from harness.trial import Trial
from harness.workload import Context, Cost, Metric, Outcome
from harness.workloads._sections import FROZEN, Compute, Training

METHODS = {"optimizer": "optimizer", "parametrization": "parametrization", "norm": "norm"}
"""Config section -> kind of method."""

METRICS = {
    "test_loss": Metric(
        label="test loss", unit="nats per token", cap="trivial_loss", shown=True, compared=True
    ),
    "validation_loss": Metric(label="validation loss", unit="nats per token", cap="trivial_loss", compared=True),
    "train_loss": Metric(label="training loss", unit="nats per token", cap="trivial_loss"),
    "train_loss_final": Metric(label="training loss, last tenth", unit="nats per token", cap="trivial_loss"),
    "trivial_loss": Metric(label="trivial loss", unit="nats per token"),
    "test_bits_per_byte": Metric(label="test bits per byte", shown=True),
    "validation_bits_per_byte": Metric(label="validation bits per byte"),
    "flops": Metric(label="training FLOPs", compared=True),
    "flops_model": Metric(label="model FLOPs"),
    "flops_optimizer": Metric(label="optimizer FLOPs"),
    "parameters": Metric(label="parameters (no embedding)"),
    "parameters_total": Metric(label="parameters, embedding included"),
    "tokens": Metric(label="training tokens"),
    "steps": Metric(label="steps"),
    "model_width": Metric(label="width"),
    "tokens_per_step": Metric(label="tokens a step"),
    "tokens_per_second": Metric(label="tokens per second"),
    "seconds_training": Metric(label="training time", unit="s"),
}
"""Metric -> what readers, estimators and the gate must know of it; curves go by the same names."""

BPE_VOCABULARY = 4096
"""Tokens of a byte-pair tokenizer where the config names no number; for cost estimates alone."""


class Model(BaseModel):
    """Decoder-only transformer: pre-norm, rotary positions, untied readout, no biases."""

    model_config = FROZEN

    width: int = Field(gt=0)
    """Channels of the residual stream."""
    depth: int = Field(gt=0)
    """Blocks, each an attention and a feed-forward branch."""
    head_width: int = Field(default=16, gt=0)
    """Channels of a head; even, and divides the width."""
    context: int = Field(default=128, gt=0)
    """Tokens of a sequence."""
    feed_forward: Literal["relu2", "swiglu"] = "relu2"
    """relu2: down(relu(up x)^2). swiglu: down(silu(gate x) * up x)."""
    feed_forward_ratio: float = Field(default=4.0, gt=0)
    """Feed-forward width over width (rounded to a whole number of channels)."""
    qk_norm: bool = True
    """Whether queries and keys are divided by their RMS, head by head."""
    zero_readout: bool = False
    """Whether the readout starts at zero, so that the first loss is ln of the vocabulary at every width."""
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
    def _consistent(self) -> Model:
        if self.head_width % 2:
            raise ValueError(f"head_width {self.head_width} is odd; rotary positions turn pairs: give an even one")
        if self.width % self.head_width:
            even = [h for h in range(2, self.width + 1, 2) if self.width % h == 0]
            raise ValueError(
                f"width {self.width} is not divisible by head_width {self.head_width}; valid head widths for "
                f"this width: {', '.join(map(str, even)) or 'none (the width is odd)'}"
            )
        return self

    @property
    def feed_forward_width(self) -> int:
        """Hidden channels of the feed-forward module, at least 1."""
        return max(1, round(self.feed_forward_ratio * self.width))

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


def data_spec(config: Config) -> Mapping[str, Any]:
    """The corpus, for ``harness.data``."""
    return config.data


def vocabulary(config: Config) -> int:
    """Vocabulary as far as the config tells; the corpus itself decides in training."""
    if config.data.get("vocab_size"):
        return int(config.data["vocab_size"])
    return BPE_VOCABULARY if config.data.get("tokenizer") == "bpe" else 256


def cost(config: Config, vocab_size: int | None = None) -> Cost:
    """FLOPs of model and optimizer, by formula."""
    size = config.model.size(vocab_size or vocabulary(config))
    tokens = config.steps * config.tokens_per_step
    optimizer = build("optimizer", config.optimizer, "optimizer")
    return Cost(
        flops=training_flops(size, config.model.context, tokens)
        + optimizer.flops_per_step(size.shapes()) * config.steps,
        parameters=size.matrix_parameters,
        tokens=tokens,
    )


def run(trial: Trial, config: Config, context: Context) -> Outcome:
    """Train and evaluate. Metrics, beside those of harness.training.train (losses in nats a token):

    validation_bits_per_byte, test_bits_per_byte, flops (all), flops_model, flops_optimizer, parameters
    (the blocks' matrices), parameters_total, tokens, model_width, tokens_per_step, tokens_per_second.
    """
    import time

    from harness.data.corpus import load
    from harness.training import train
    from harness.workloads._language_task import LanguageTask

    start = time.perf_counter()
    corpus = load(config.data, context.data_folder, trial.data or None)
    task = LanguageTask(config, corpus, trial.seed)
    vocab_size = corpus.vocab_size
    total = cost(config, vocab_size)
    flops_model = training_flops(config.model.size(vocab_size), config.model.context, total.tokens)
    outcome = train(
        task, config.training, context, identity=trial.identity,
        setup_seconds=time.perf_counter() - start,
        metrics={
            "flops": total.flops,
            "flops_model": flops_model,
            "flops_optimizer": total.flops - flops_model,
            "parameters": float(total.parameters),
            "parameters_total": float(task.parameters_total),
            "tokens": float(total.tokens),
            "model_width": float(config.model.width),
            "tokens_per_step": float(config.tokens_per_step),
        },
    )
    for split in ("validation", "test"):
        loss = outcome.metrics[f"{split}_loss"]
        outcome.metrics[f"{split}_bits_per_byte"] = bits_per_byte(loss, bytes_per_token(corpus, split))
    seconds = outcome.metrics["seconds_training"]
    finished = outcome.diverged_step is None
    outcome.metrics["tokens_per_second"] = total.tokens / seconds if seconds and finished else None
    return outcome


def bytes_per_token(corpus: Any, split: str) -> float:
    """Bytes behind a token of this split, where the corpus tells them apart; NaN if unknown."""
    of = getattr(corpus, "bytes_per_token_of", None)
    return float(of(split) if of else corpus.bytes_per_token)


def bits_per_byte(nats_per_token: float | None, bytes_per_token: float) -> float | None:
    """Loss that compares across tokenizers; None if either number is unknown."""
    if nats_per_token is None or not bytes_per_token > 0:
        return None
    return nats_per_token / math.log(2) / bytes_per_token

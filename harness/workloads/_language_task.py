"""What the training loop needs of a language model: network, batches, losses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import DataError, HarnessError
from harness.methods.construct import build
from harness.methods.norm import Norm
from harness.methods.optimizer import Optimizer
from harness.methods.parametrization import Parametrization
from harness.models.parameters import initialise, parameter_groups, places, scalings
from harness.models.transformer import (
    Architecture,
    BuildFeedForward,
    Transformer,
    dense,
    next_token_loss,
    trivial_loss,
)
from harness.streams import Streams

if TYPE_CHECKING:
    from harness.workloads.language_model import Config, Model

EVALUATION_BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}
"""Tokens of one forward pass in evaluation, at least one sequence. On a CPU the activations of more leave the
cache: 16,384 took 1.3 to 1.9 times as long a token at widths 16 to 256."""


def architecture(model: Model, vocab_size: int) -> Architecture:
    """The network that a config section describes."""
    return Architecture(
        vocab_size=vocab_size, width=model.width, depth=model.depth, head_width=model.head_width,
        context=model.context, feed_forward=model.feed_forward, feed_forward_width=model.feed_forward_width,
        qk_norm=model.qk_norm, zero_readout=model.zero_readout, zero_query=model.zero_query,
        zero_residual=model.zero_residual,
    )


def base_model(model: Model) -> Model:
    """The same section at the base width, depth and head width.

    Raises HarnessError if the base width has no such heads.
    """
    width, depth = model.base_width or model.width, model.base_depth or model.depth
    head_width = min(model.base_head_width or model.head_width, width)
    if width % head_width or head_width % 2:
        raise HarnessError(
            f"model.base_width {width} is not divisible by head width {head_width}; give a base_width that is "
            "a multiple of it, or a base_head_width (even) that divides it"
        )
    return model.model_copy(update={"width": width, "depth": depth, "head_width": head_width})


MOST_SHAPES = 256
"""Shapes of model that one worker compiles before it says that there are too many."""


def compiled(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The loss compiled for its shapes; trials of equal shape in one process share the compiled code.

    torch's default would run a ninth shape uncompiled, with other numerics and only a warning.
    """
    import torch._dynamo.config as settings

    settings.recompile_limit = settings.accumulated_recompile_limit = MOST_SHAPES
    settings.fail_on_recompile_limit_hit = True
    return torch.compile(loss, dynamic=False)


class LanguageTask:
    """See harness.training.Task."""

    def __init__(
        self, config: Config, corpus: Any, seed: int, feed_forward: BuildFeedForward = dense
    ) -> None:
        self.config, self.corpus = config, corpus
        self.steps = config.steps
        self.device = torch.device(config.compute.device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise HarnessError("compute.device 'cuda': no CUDA device here; valid here: cpu")
        if torch.get_num_threads() != config.compute.threads:
            torch.set_num_threads(config.compute.threads)
        self.streams = Streams(seed, f"width={config.model.width},depth={config.model.depth}")
        self.torch_seed = self.streams.key("torch") >> 1
        self.trivial_loss = trivial_loss(corpus.vocab_size)
        self._build(feed_forward)
        self._splits: dict[str, Any] = {}
        self._columns_T = torch.arange(config.model.context + 1, device=self.device)
        self._loss: Callable[[Tensor], Tensor] = self._eager_loss
        if config.compute.compile:
            self._loss = compiled(self._eager_loss)

    def _build(self, feed_forward: BuildFeedForward) -> None:
        config, model = self.config, self.config.model
        optimizer: Optimizer = build("optimizer", config.optimizer, "optimizer")
        parametrization: Parametrization = build(
            "parametrization", config.parametrization, "parametrization"
        )
        norm: Norm = build("norm", config.norm, "norm")
        base = base_model(model)

        def network(section: Model) -> Transformer:
            return Transformer(
                architecture(section, self.corpus.vocab_size), norm, parametrization,
                base_head_width=base.head_width, base_depth=base.depth, feed_forward=feed_forward,
            )

        with torch.device("meta"):
            base_places = places(network(base))
        self.model = network(model)
        scaling = scalings(self.model, base_places, (model.depth, base.depth), parametrization, optimizer)
        initialise(self.model, scaling, self.streams)
        self.model.to(self.device)
        self.groups = parameter_groups(self.model, scaling)
        self.optimizer = optimizer.build(self.groups)
        self.parameters_total = sum(p.numel() for p in self.model.parameters())

    # --- batches -----------------------------------------------------------------------------------------

    def _tokens(self, split: str) -> Any:
        """The split: a memory-mapped array on a CPU, resident on a GPU."""
        if split not in self._splits:
            tokens = self.corpus.split(split)
            least = self.config.model.context + 1
            if len(tokens) < least:
                raise DataError(
                    f"split {split!r} of the corpus has {len(tokens)} tokens, fewer than model.context + 1 = "
                    f"{least}; give a larger corpus or a smaller context"
                )
            if self.device.type == "cuda":
                wide = np.asarray(tokens) if tokens.dtype == np.uint8 else np.asarray(tokens, np.int32)
                tokens = torch.from_numpy(np.array(wide)).to(self.device)
            self._splits[split] = tokens
        return self._splits[split]

    def _windows(self, split: str, offsets: np.ndarray) -> Tensor:
        """(sequences, context + 1) tokens that start at these offsets."""
        tokens = self._tokens(split)
        if isinstance(tokens, Tensor):
            # Only the offsets cross over to the GPU, not the index of every token.
            starts_B = torch.from_numpy(offsets).to(tokens.device)
            return tokens[starts_B[:, None] + self._columns_T].long()
        return torch.from_numpy(tokens[offsets[:, None] + self._columns_T.numpy()].astype(np.int64))

    def batch(self, step: int, part: int) -> Tensor:
        """Random windows of the train split, a function of seed, size and step."""
        t = self.config.training
        high = len(self._tokens("train")) - self.config.model.context
        offsets = self.streams.integers("batch", step, high, t.batch_size)
        share = t.batch_size // t.gradient_accumulation
        return self._windows("train", offsets[part * share : (part + 1) * share])

    def _fixed_windows(self, split: str, tokens: int) -> np.ndarray:
        """Offsets of evenly spaced windows that do not overlap, as many as cover ``tokens`` if there are."""
        T, length = self.config.model.context, len(self._tokens(split))
        count = max(1, min(ceil_div(tokens, T), (length - 1) // T))
        return np.linspace(0, length - 1 - T, count).astype(np.int64) if count > 1 else np.zeros(1, np.int64)

    # --- losses ------------------------------------------------------------------------------------------

    def _autocast(self) -> AbstractContextManager[Any]:
        enabled = self.config.compute.dtype == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _eager_loss(self, windows: Tensor) -> Tensor:
        with self._autocast():
            return next_token_loss(self.model(windows[:, :-1]), windows[:, 1:])

    def loss(self, batch: Tensor) -> Tensor:
        """Mean nats a token of (sequences, context + 1) tokens."""
        return self._loss(batch)

    @torch.no_grad()
    def evaluate(self, split: str) -> float:
        """Mean nats a token over the split's fixed windows; always the uncompiled model."""
        t = self.config.training
        wanted = t.evaluation_tokens if split == "validation" else t.test_tokens
        offsets = self._fixed_windows(split, wanted)
        size = max(1, EVALUATION_BATCH_TOKENS[self.device.type] // self.config.model.context)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for start in range(0, len(offsets), size):
            part = offsets[start : start + size]
            total += self._eager_loss(self._windows(split, part)).double() * len(part)
        return total.item() / len(offsets)

    def after_step(self, step: int) -> None:
        """Nothing: a dense network keeps no state beside its weights."""

    # --- for probes --------------------------------------------------------------------------------------

    def probe_batch(self, size: int) -> Tensor:
        """(size, context) held-out tokens, the same for every trial."""
        offsets = self._fixed_windows("validation", size * self.config.model.context)
        return self._windows("validation", offsets)[:, :-1]

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of the uncompiled model."""
        with self._autocast():
            return self.model(inputs)


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)

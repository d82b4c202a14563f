"""What the training loop needs of a language model: network, windows of tokens, losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import DataError
from harness.methods.norm import Norm
from harness.methods.parametrization import Parametrization
from harness.models.blocks import BuildFeedForward, dense
from harness.models.transformer import Architecture, Transformer, next_token_loss, next_token_losses, trivial_loss
from harness.workloads._language_sections import Config, Model
from harness.workloads._task import LearningTask

EVALUATION_BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}
"""Tokens of one forward pass in evaluation, at least one sequence. On a CPU the activations of more leave the
cache: 16,384 took 1.3 to 1.9 times as long a token at widths 16 to 256."""

STEPS_AHEAD = 25
"""Steps whose windows are drawn together: as many as between two looks at the losses on CUDA (harness.training),
where the host has just waited."""


def architecture(model: Model, vocab_size: int) -> Architecture:
    """The network that a config section describes."""
    return Architecture(
        vocab_size=vocab_size, width=model.width, depth=model.depth, head_width=model.head_width,
        context=model.context, feed_forward=model.feed_forward, feed_forward_width=model.feed_forward_width,
        qk_norm=model.qk_norm, zero_readout=model.zero_readout, zero_query=model.zero_query,
        zero_residual=model.zero_residual, embedding_scalar=model.embedding_scalar,
    )


class LanguageTask(LearningTask):
    """See harness.training.Task. ``feed_forward`` builds each block's feed-forward module."""

    def __init__(
        self, config: Config, corpus: Any, seed: int, feed_forward: BuildFeedForward = dense,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.corpus, self.feed_forward = config, corpus, feed_forward
        super().__init__(config, seed, trivial_loss(corpus.vocab_size), weights)
        self._splits: dict[str, Any] = {}
        self._held: dict[str, Tensor] = {}
        self._ahead: tuple[int, Tensor] | None = None
        self._columns_T = torch.arange(config.model.context + 1, device=self.device)

    def network(self, section: Model, norm: Norm, parametrization: Parametrization) -> nn.Module:
        """The transformer of a model section."""
        base = self.config.model.base
        return Transformer(
            architecture(section, self.corpus.vocab_size), norm, parametrization,
            base_head_width=base.head_width, base_depth=base.depth, feed_forward=self.feed_forward,
        )

    # --- windows -----------------------------------------------------------------------------------------

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

    def items(self, split: str, held: Tensor) -> Tensor:
        """(sequences, context + 1) tokens that start at these places."""
        tokens, index_BT = self._tokens(split), held[:, None] + self._columns_T
        if isinstance(tokens, Tensor):
            return tokens[index_BT].long()
        return torch.from_numpy(tokens[index_BT.numpy()].astype(np.int64))

    def batch(self, step: int, part: int) -> Tensor:
        """Random windows of the train split."""
        t = self.config.training
        share = t.batch_size // t.gradient_accumulation
        return self.items("train", self._starts(step)[part * share : (part + 1) * share])

    def _starts(self, step: int) -> Tensor:
        """Offsets of the step's windows, drawn and sent to the device for STEPS_AHEAD steps at once."""
        first = step - step % STEPS_AHEAD
        if self._ahead is None or self._ahead[0] != first:
            high = len(self._tokens("train")) - self.config.model.context
            size = self.config.training.batch_size
            steps = range(first, first + STEPS_AHEAD)
            drawn = [self.streams.integers("batch", s, high, size) for s in steps]
            self._ahead = (first, self._across(np.stack(drawn)))
        return self._ahead[1][step - first]

    def _across(self, places: np.ndarray) -> Tensor:
        """To the device, for which the host waits until all that was asked of it before is done."""
        return torch.from_numpy(places).to(self.device)

    def _fixed_windows(self, split: str, tokens: int) -> np.ndarray:
        """Offsets of evenly spaced windows that do not overlap, as many as cover ``tokens`` if there are."""
        T, length = self.config.model.context, len(self._tokens(split))
        count = max(1, min(ceil_div(tokens, T), (length - 1) // T))
        return np.linspace(0, length - 1 - T, count).astype(np.int64) if count > 1 else np.zeros(1, np.int64)

    def held_out(self, split: str) -> Tensor:
        """Offsets of the split's fixed windows."""
        if split not in self._held:
            t = self.config.training
            tokens = t.evaluation_tokens if split == "validation" else t.test_tokens
            self._held[split] = self._across(self._fixed_windows(split, tokens))
        return self._held[split]

    @property
    def items_at_once(self) -> int:
        return max(1, EVALUATION_BATCH_TOKENS[self.device.type] // self.config.model.context)

    @property
    def item_tokens(self) -> int:
        return self.config.model.context

    def probe_batch(self, size: int) -> Tensor:
        """(size, context) held-out tokens, the same for every trial."""
        offsets = self._fixed_windows("validation", size * self.config.model.context)
        return self.items("validation", self._across(offsets))[:, :-1]

    # --- losses ------------------------------------------------------------------------------------------

    def _eager_loss(self, batch: Tensor) -> Tensor:
        """Mean nats a token of (sequences, context + 1) tokens."""
        with self.autocast():
            return next_token_loss(self.model(batch[:, :-1]), batch[:, 1:])

    def _losses(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        with self.autocast():
            mean, each_BT = next_token_losses(self.model(batch[:, :-1]), batch[:, 1:])
        return mean, each_BT.double().mean(1)


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)

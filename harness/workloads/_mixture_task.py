"""What the training loop needs of a language model with experts: network, the routers' losses and updates, load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.methods.construct import build
from harness.methods.norm import Norm
from harness.methods.parametrization import Parametrization
from harness.methods.router import Router, Routing
from harness.models.blocks import BlockArchitecture
from harness.models.experts import MixtureArchitecture, MixtureOfExperts, losses, mixtures
from harness.models.transformer import next_token_loss
from harness.outcome import Table
from harness.workloads._language_task import LanguageTask
from harness.workloads._mixture_metrics import by_block, by_class, by_token, classes_of, frequencies, sample
from harness.workloads._mixture_sections import Config
from harness.workloads._task import NUM_BLOCKS

BY_CLASS = "experts_by_class"
"""Table of experts a token on the test split, by class of the token and decile of its loss."""
BY_TOKEN = "experts_by_token"
"""Table of experts by kind of token, beside its share of the training text."""
BY_BLOCK = "budget_error_test_blocks"
"""Table of the budget's error in runs of the test split."""
SAMPLE, SAMPLED = "experts_in_text", 512
"""Table of the test split's first tokens one by one, and how many."""
BYTES = 256
"""Vocabulary of a corpus of bytes."""
LOAD = "expert_load"
"""Table of the test split's tokens by layer and expert."""


class History(nn.Module):
    """What happened at each step, as buffers of the model, so that checkpoints hold it."""

    counts: Tensor
    auxiliary: Tensor
    spread: Tensor

    def __init__(self, steps: int, layers: int, experts: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(steps, layers, experts, dtype=torch.int32))
        self.register_buffer("auxiliary", torch.zeros(steps))
        self.register_buffer("spread", torch.zeros(steps, layers))


class Heard:
    """Choices of one evaluation, layer by layer."""

    def __init__(self, layers: list[MixtureOfExperts]) -> None:
        self.counts = [torch.zeros(layer.mixture.number, dtype=torch.int64) for layer in layers]
        self.active: list[list[Tensor]] = [[] for _ in layers]
        """Experts of every token, part by part."""
        self.losses: list[Tensor] = []
        """Nats of every token, part by part."""
        self.tokens: list[Tensor] = []
        """Tokens that were read, part by part."""

    def tell(self, layer: int, routing: Routing) -> None:
        """Add a part's choices."""
        self.counts[layer] += routing.chosen_NE.sum(0).cpu()
        self.active[layer].append(routing.chosen_NE.sum(1).to(torch.int16).cpu())

    def experts_of_tokens(self) -> np.ndarray:
        """Experts of every token, (layers, tokens)."""
        return np.stack([torch.cat(parts).numpy() for parts in self.active])

    def classes_of_tokens(self, vocab_size: int) -> np.ndarray:
        """Class of every token that was read."""
        return classes_of(torch.cat(self.tokens).numpy(), vocab_size)

    def losses_of_tokens(self) -> np.ndarray:
        """Nats of every token."""
        return torch.cat(self.losses).double().numpy()


class MixtureTask(LanguageTask):
    """See harness.training.Task."""

    config: Config

    def __init__(
        self, config: Config, corpus: Any, seed: int, weights: Mapping[str, Any] | None = None
    ) -> None:
        assert config.experts is not None and config.router is not None
        self.router: Router = build("router", config.router, "router")
        self.heard: Heard | None = None
        self._auxiliary = torch.zeros(())
        super().__init__(config, corpus, seed, self._mixture, weights)
        self.layers = mixtures(self.model)
        self.history: History = self.model.get_submodule("history")  # type: ignore[assignment]

    def _mixture(self, a: BlockArchitecture, block: int) -> nn.Module:
        e = self.config.experts
        assert e is not None
        m = MixtureArchitecture(
            number=e.number, width=e.width, active=e.active, shared=e.shared, form=e.form,
            output_scale=e.output_scale,
        )  # fmt: skip
        return MixtureOfExperts(a, m, self.router)

    def network(self, section: Any, norm: Norm, parametrization: Parametrization) -> nn.Module:
        """The transformer of a model section, with its history."""
        model = super().network(section, norm, parametrization)
        assert self.config.experts is not None
        model.add_module("history", History(self.steps, section.depth, self.config.experts.number))
        return model

    # --- training ----------------------------------------------------------------------------------------

    def _eager_loss(self, batch: Tensor) -> Tensor:
        """Mean nats a token; the gradient is that of the routers' losses, too, of which the value has none."""
        with self.autocast():
            loss = next_token_loss(self.model(batch[:, :-1]), batch[:, 1:])
        if not self.model.training:
            return loss
        parts = self.config.training.gradient_accumulation
        for auxiliary in losses(self.layers):
            self._auxiliary = self._auxiliary.to(auxiliary.device) + auxiliary.detach() / parts
            loss = loss + (auxiliary - auxiliary.detach())
        return loss

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """The routers' states for the next step, after the optimizer's: no choice has seen its own update."""
        for number, layer in enumerate(self.layers):
            counts = layer.update(self.config.tokens_per_step)
            self.history.counts[step, number].copy_(counts)
            if state := [value.flatten() for value in layer.state.values().values()]:
                self.history.spread[step, number] = torch.cat(state).std(correction=0)
        self.history.auxiliary[step] = self._auxiliary
        self._auxiliary = torch.zeros(())

    # --- evaluation --------------------------------------------------------------------------------------

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        """What every layer chooses inside, and each token's loss."""
        heard = self.heard = Heard(self.layers)
        for number, layer in enumerate(self.layers):
            layer.listen = lambda routing, number=number: heard.tell(number, routing)
        try:
            yield heard
        finally:
            self.heard = None
            for layer in self.layers:
                layer.listen = None

    def _losses(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        if self.heard is None:
            return super()._losses(batch)
        from harness.models.transformer import next_token_losses

        with self.autocast():
            mean, each_BT = next_token_losses(self.model(batch[:, :-1]), batch[:, 1:])
        self.heard.losses.append(each_BT.flatten().cpu())
        self.heard.tokens.append(batch[:, :-1].flatten().cpu())
        return mean, each_BT.double().mean(1)

    def test(self) -> tuple[float, Mapping[str, Table]]:
        """Loss of the test split with the router's state as it is, and what was chosen, from one pass."""
        with self.listening() as heard:
            loss, tables = super().test()
        self.last = heard
        rows = [[n, e, int(c)] for n, counts in enumerate(heard.counts) for e, c in enumerate(counts.tolist())]
        tables = {**tables, LOAD: Table(columns=["layer", "expert", "tokens"], rows=rows)}
        # A fixed number of experts is the same for every token: nothing to tell apart.
        return loss, tables if self.router.fixed else {**tables, **self._by_token(heard)}

    def _by_token(self, heard: Heard) -> dict[str, Table]:
        """Where the experts went: by class and loss, by kind of token, by block, and in the first tokens."""
        assert self.config.experts is not None
        experts, losses = heard.experts_of_tokens(), heard.losses_of_tokens()
        tokens, V = torch.cat(heard.tokens).numpy(), self.corpus.vocab_size
        frequency = frequencies(self.corpus.split("train"), V)
        found = {
            BY_CLASS: by_class(experts, losses, heard.classes_of_tokens(V)),
            BY_TOKEN: by_token(experts, losses, tokens, frequency),
            BY_BLOCK: by_block(experts, self.config.experts.active, NUM_BLOCKS),
        }
        if V == BYTES:
            found[SAMPLE] = sample(experts, losses, [chr(t) for t in tokens[:SAMPLED]])
        return found

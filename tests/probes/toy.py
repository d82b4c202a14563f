"""A small model with the names that probes know, and a loop that calls a probe as the protocol says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.methods.optimizer import ParameterGroup
from harness.probes import Probe


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Parameter(torch.randn(3, width, width) / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (x @ self.qkv[i].T for i in range(3))
        return torch.softmax(q @ k.mT / x.shape[-1] ** 0.5, -1) @ v


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = Attention(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.feed_forward(x)


class Model(nn.Module):
    def __init__(self, width: int = 16, layers: int = 2, vocabulary: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.readout = nn.Linear(width, vocabulary, bias=False)
        self.stacks = {f"blocks.{i}.attention.qkv": ("query", "key", "value") for i in range(layers)}

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.readout(x)


def groups(model: nn.Module) -> list[ParameterGroup]:
    out = []
    for name, p in model.named_parameters():
        role = "vector" if p.ndim < 2 else name.split(".")[0].replace("blocks", "hidden")
        out.append(ParameterGroup(role=role, names=[name], parameters=[p], fan_in=1, fan_out=1))  # type: ignore[arg-type]
    return out


class Task:
    def __init__(self, model: nn.Module, steps: int = 10) -> None:
        self.model, self.steps, self.device = model, steps, torch.device("cpu")

    def probe_batch(self, size: int) -> Tensor:
        return torch.randint(12, (size, 6), generator=torch.Generator().manual_seed(5))

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        self.model.eval()
        return self.model(inputs)


class Run:
    """Adam on random tokens, with dropout, so that a draw too many would show."""

    def __init__(self, probes: Sequence[Probe] = (), steps: int = 10, lr: float = 1e-2, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = Model()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
        self.task, self.probes, self.losses = Task(self.model, steps), probes, list[float]()
        for probe in probes:
            probe.start(self.model, groups(self.model), self.optimizer, self.task)

    def train(self, first: int = 0, last: int | None = None) -> Run:
        for step in range(first, self.task.steps if last is None else last):
            generator = torch.Generator().manual_seed(step)
            tokens = torch.randint(12, (4, 6), generator=generator)
            loss = nn.functional.cross_entropy(self.model.train()(tokens).flatten(0, 1), tokens.roll(1).flatten())
            self.optimizer.zero_grad()
            loss.backward()
            self.losses.append(loss.item())
            wanting = [p for p in self.probes if p.wants(step)]
            for probe in wanting:
                probe.before_step(step)
            self.optimizer.step()
            for probe in wanting:
                probe.after_step(step)
        return self

"""The probes on the transformer: a coordinate check that tells muP from the standard parametrization."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from baselines.parametrizations.mup import MuP
from baselines.parametrizations.spectral import Spectral
from baselines.parametrizations.standard import Standard
from harness.methods.construct import build as method
from harness.methods.parametrization import Parametrization
from harness.models.parameters import initialise, parameter_groups, places, scalings
from harness.models.transformer import Architecture, Transformer, next_token_loss
from harness.probes import build
from harness.streams import Streams

WIDTHS = (32, 64, 128, 256)


@dataclass
class Task:
    model: nn.Module
    steps: int = 10
    device: str = "cpu"

    def probe_batch(self, size: int) -> Tensor:
        return torch.randint(64, (size, 16), generator=torch.Generator().manual_seed(9))

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs)


def transformer(parametrization: Parametrization, width: int, seed: int, **more: Any) -> Transformer:
    norm = SimpleNamespace(
        build=lambda width, site: nn.RMSNorm(width), embedding_scale=lambda width: None
    )
    sizes = dict.fromkeys(("depth",), 2) | {"vocab_size": 64, "head_width": 16, "context": 16}
    a, base = (Architecture(width=w, **sizes, **more) for w in (width, WIDTHS[0]))
    model = Transformer(a, norm, parametrization)  # type: ignore[arg-type]
    optimizer = method("optimizer", {"name": "adamw", "lr": 1.0})
    reference = places(Transformer(base, norm, parametrization))  # type: ignore[arg-type]
    model.scaling = scalings(model, reference, (2, 2), parametrization, optimizer)
    initialise(model, model.scaling, Streams(seed, f"width={width}"))
    return model


def slopes(parametrization: Parametrization, lr: float, steps: int = 4, seeds: int = 2) -> pd.Series:
    """Site -> slope of log2(change) on log2(width) after some steps, mean over seeds and layers."""
    rows = []
    for width in WIDTHS:
        for seed in range(seeds):
            model = transformer(parametrization, width, seed, zero_readout=True, zero_query=True)
            groups = parameter_groups(model, model.scaling)
            optimizer = method("optimizer", {"name": "adamw", "lr": lr, "weight_decay": 0.0}).build(groups)
            probe = build("coordinate", {"steps": steps})
            probe.start(model, groups, optimizer, Task(model))
            generator = torch.Generator().manual_seed(seed)
            for step in range(steps):
                tokens = (torch.randint(64, (16, 1), generator=generator) + 5 * torch.arange(17)) % 64
                loss = next_token_loss(model(tokens[:, :-1]), tokens[:, 1:])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                probe.after_step(step)
            table = probe.finish()
            frame = pd.DataFrame(table.rows, columns=table.columns).assign(width=width)
            rows.append(frame[(frame.step == steps) & (frame.statistic == "rms_change")])
    frame = pd.concat(rows)
    frame["log"] = np.log2(frame["value"].astype(float))
    mean = frame.groupby(["site", "width"])["log"].mean().unstack()
    return mean.apply(lambda y: np.polyfit(np.log2(WIDTHS), y, 1)[0], axis=1)


@pytest.mark.parametrize("parametrization", [MuP(), MuP(form="table3"), Spectral()], ids=repr)
def test_coordinates_do_not_grow_with_width_under_mup(parametrization):
    found = slopes(parametrization, 2**-6)
    assert set(found.index) == {"embedding", "attention", "feed_forward", "logits"}
    assert found.drop("logits").abs().max() < 0.1, found
    # The first updates of a readout are part noise, which falls as width^(-1/2): logits may fall so fast.
    assert -0.5 < found["logits"] < 0.1, found


def test_coordinates_grow_with_width_under_standard():
    found = slopes(Standard(), 2**-6)
    assert found["attention"] > 0.5 and found["feed_forward"] > 0.5 and found["logits"] > 0.3, found


def test_spectra_splits_the_transformers_projections_and_heads():
    model = transformer(Standard(), 32, 0)
    groups = parameter_groups(model, model.scaling)
    for heads, count in ((0, 2 * (3 + 1 + 2)), ("model", 2 * (3 * 2 + 1 + 2))):
        probe = build("spectra", {"heads": heads})
        probe.start(model, groups, torch.optim.SGD(model.parameters(), lr=1.0), Task(model))
        matrices = {row[1] for row in probe.finish().rows}
        assert len(matrices) == count

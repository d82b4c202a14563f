"""Norm sites: statistics by hand, responses of known maps, any norm, and nothing changed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from harness.data import corpus
from harness.errors import HarnessError
from harness.outcome import Table
from harness.probes import Probe, build
from harness.probes.norm_sites import RESPONSE, STATISTICS
from tests.workloads import tiny

SITES = {(0, "attention"), (0, "feed_forward"), (1, "attention"), (1, "feed_forward"), (-1, "final")}


def frame(table: Table, kind: str) -> pd.DataFrame:
    rows = pd.DataFrame(table.rows, columns=table.columns)
    return rows[rows["kind"] == kind].reset_index(drop=True)


class One(nn.Module):
    """A norm and no more."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.final_norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.final_norm(x)


def measured(norm: nn.Module, x: Tensor, length: int = 1, **settings: Any) -> Table:
    """The table of a run of this length in which nothing moves."""
    model = One(norm)
    task = SimpleNamespace(steps=length, probe_batch=lambda size: x[:size], forward=model)
    probe = build("norm_sites", settings)
    probe.start(model, [], torch.optim.SGD([torch.zeros(1)], lr=1.0), task)  # type: ignore[arg-type]
    for step in range(length):
        if probe.wants(step):
            probe.before_step(step)
            probe.after_step(step)
    assert not any(m._forward_hooks for m in model.modules())
    return probe.finish()


class Slopes(nn.Module):
    """gain tanh(alpha x) + bias, with two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([-0.5, 1.5]))
        self.weight = nn.Parameter(torch.tensor([3.0, -4.0]))
        self.bias = nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.alpha * x) * self.weight + self.bias


def test_statistics_are_those_worked_out_by_hand() -> None:
    x = torch.tensor([[[4.0, 0.0], [0.0, -2.0], [-4.0, 3.0], [4.1, -1.0]]])
    rows = frame(measured(Slopes(), x, steps=[0]), "site")
    row = rows.iloc[0]
    assert (row["step"], row["layer"], row["site"]) == (0, -1, "final")
    assert row["alpha_mean"] == 1.0 and row["alpha_spread"] == 0.5
    assert row["alpha_min"] == -0.5 and row["alpha_negative"] == 0.5
    # |alpha x| = 2, 2, 2.05 in the first channel, 3, 4.5, 1.5 in the second: three of eight above 2.
    assert row["saturation"] == 3 / 8
    assert row["gain_rms"] == pytest.approx((25 / 2) ** 0.5)
    assert row["input_std"] == pytest.approx(float(x.double().std(correction=0)), rel=1e-6)
    rms = x.double().square().mean(-1).sqrt()[0]
    assert row["input_rms_token_sd"] == pytest.approx(float(rms.std(correction=0) / rms.mean()), rel=1e-6)
    assert row["output_rms"] == pytest.approx(Slopes()(x).detach().square().mean().sqrt().item(), rel=1e-6)


def test_a_norm_without_slope_or_gain_has_none_of_them() -> None:
    x = 3 * torch.randn(4, 16, 8, generator=torch.Generator().manual_seed(0))
    for norm, gain in ((nn.LayerNorm(8), 1.0), (nn.RMSNorm(8, elementwise_affine=False), None)):
        row = frame(measured(norm, x), "site").iloc[0]
        assert all(pd.isna(row[c]) for c in STATISTICS if c.startswith("alpha") or c == "saturation")
        assert pd.isna(row["gain_rms"]) if gain is None else row["gain_rms"] == gain
        assert row["output_rms"] == pytest.approx(1, abs=1e-3)


def test_a_point_wise_map_is_its_own_best_fit_at_the_ceiling() -> None:
    x = torch.randn(8, 64, 2, generator=torch.Generator().manual_seed(0))
    norm = Slopes()
    norm.alpha.data = torch.tensor([0.8, 0.8])
    table = measured(norm, x)
    found = frame(table, "fit").set_index("fit")
    assert list(found.index) == ["linear", "tanh", "isru", "erf", "ceiling"]
    # Gains of 3 and -4 and biases of 1 and 2 are taken off.
    assert found.loc["tanh", "r2"] == pytest.approx(1, abs=1e-9)
    assert found.loc["tanh", ["fit_gain", "fit_slope"]].tolist() == pytest.approx([1, 0.8], rel=1e-3)
    assert found.loc["ceiling", "r2"] == pytest.approx(1, abs=1e-9) and found.loc["linear", "r2"] < 0.98
    bins = frame(table, "response")
    assert list(bins["bin"]) == list(range(64)) and set(bins["step"]) == {1}
    inputs, outputs = (torch.tensor(bins[column].tolist()) for column in ("input", "output"))
    torch.testing.assert_close(outputs, torch.tanh(0.8 * inputs), rtol=0, atol=0.02)


def test_what_a_normalisation_does_beyond_any_point_wise_function_is_seen() -> None:
    """Tokens of scales 1 and 4: RMSNorm maps both to 1, so that one input has two outputs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 512, 16, generator=generator) * torch.tensor([1.0, 4.0])[:, None, None]
    table = measured(nn.RMSNorm(16), x)
    found = frame(table, "fit").set_index("fit")["r2"]
    assert found["linear"] < found["tanh"] < found["ceiling"] < 0.95
    alike = measured(nn.RMSNorm(16), x / x.square().mean(-1, keepdim=True).sqrt())
    assert frame(alike, "fit").set_index("fit").loc["linear", "r2"] == pytest.approx(1, abs=1e-6)


def test_the_end_is_measured_whatever_the_steps() -> None:
    x = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    table = measured(nn.LayerNorm(4), x, length=5, steps=[0, 2, 900])
    assert list(frame(table, "site")["step"]) == [0, 2, 5]
    assert set(frame(table, "response")["step"]) == {5}


def test_a_gain_of_zero_and_numbers_that_are_not_finite_leave_a_table() -> None:
    norm = nn.LayerNorm(4)
    with torch.no_grad():
        norm.weight[0] = 0.0
    x = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    assert len(frame(measured(norm, x), "fit")) == 5
    x[0, 0, 0] = torch.nan
    table = measured(norm, x)
    assert frame(table, "response").empty and frame(table, "site")["output_rms"].isna().all()
    assert Table.model_validate_json(table.model_dump_json()) == table


@pytest.fixture
def tiny_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "load", lambda *args, **kwargs: tiny.TinyCorpus())


PROBES = {"norm_sites": {"steps": [0, 3, 7], "size": 4, "bins": 8}}


@pytest.mark.usefixtures("tiny_corpus")
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm", "dyt", "derf", "dyisru", "pointwise", "identity"])
def test_losses_are_the_same_bits_with_and_without(norm: str, tmp_path: Path) -> None:
    sections = {"norm": {"name": norm}, "model": {"zero_readout": True}}
    plain = tiny.run(tmp_path / "plain", **sections)
    probed = tiny.run(tmp_path / "probed", fields={"probes": PROBES}, **sections)
    assert probed.curves == plain.curves and probed.metrics["test_loss"] == plain.metrics["test_loss"]
    rows = frame(probed.probes["norm_sites"], "site")
    assert set(zip(rows["layer"], rows["site"], strict=True)) == SITES
    assert sorted(set(rows["step"])) == [0, 3, 7, 12]
    assert rows["alpha_mean"].notna().all() == (norm not in ("layernorm", "rmsnorm", "identity"))
    assert rows[["input_std", "input_rms_token_sd", "output_rms"]].notna().all(axis=None)
    assert frame(probed.probes["norm_sites"], "response")[list(RESPONSE)].notna().all(axis=None)


@pytest.mark.usefixtures("tiny_corpus")
def test_a_resumed_run_leaves_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = {"norm": {"name": "dyt"}, "fields": {"probes": PROBES, "checkpoint_seconds": 0.0}}
    whole = tiny.run(tmp_path / "whole", **sections)  # type: ignore[arg-type]
    tiny.run_killed_at(9, tmp_path / "cut", monkeypatch, **sections)
    resumed = tiny.run(tmp_path / "cut", **sections)  # type: ignore[arg-type]
    assert resumed.resumed == 1 and resumed.probes == whole.probes


def test_bad_input_is_told() -> None:
    with pytest.raises(HarnessError, match=r"unknown setting of probe 'norm_sites' 'step'\. Did you mean 'steps'"):
        build("norm_sites", {"step": [0]})
    with pytest.raises(HarnessError, match=r"setting 'steps\.0'.*greater than or equal to 0.*-1"):
        build("norm_sites", {"steps": [-1]})
    probe = build("norm_sites", {})
    assert isinstance(probe, Probe)
    model = nn.Sequential(nn.LayerNorm(4))
    task = SimpleNamespace(steps=1, probe_batch=lambda size: None)
    with pytest.raises(HarnessError, match=r"Sequential has no module that is known as a norm.*norm_sites"):
        probe.start(model, [], torch.optim.SGD(model.parameters(), lr=1.0), task)  # type: ignore[arg-type]

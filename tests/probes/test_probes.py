"""Probes measure what they say, and change nothing."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
import torch

from harness.errors import HarnessError, UnknownNameError
from harness.outcome import Table
from harness.probes import Probe, build, names
from harness.probes._settings import layer_of, sampled
from tests.probes.toy import Model, Run, Task, groups

ALL_KINDS = {"kinds": ["weight", "update", "activation"], "roles": ["hidden", "embedding", "readout"]}


def frame(table: Table) -> pd.DataFrame:
    return pd.DataFrame(table.rows, columns=table.columns)


@pytest.mark.parametrize(("name", "settings"), [("spectra", ALL_KINDS), ("coordinate", {"steps": 3})])
def test_losses_weights_and_random_state_are_bit_identical_with_and_without(name, settings):
    probe = build(name, settings)
    assert isinstance(probe, Probe)
    plain, probed = Run().train(), None
    plain_state = torch.get_rng_state()
    probed = Run([probe]).train()
    assert torch.equal(plain_state, torch.get_rng_state())
    assert plain.losses == probed.losses
    for a, b in zip(plain.model.parameters(), probed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not any(m._forward_hooks for m in probed.model.modules())


@pytest.mark.parametrize(("name", "settings"), [("spectra", ALL_KINDS), ("coordinate", {"steps": 8})])
@pytest.mark.parametrize("stop", [1, 4, 7])
def test_a_resumed_run_leaves_the_same_table(name, settings, stop):
    whole = build(name, settings)
    Run([whole]).train()
    early = build(name, settings)
    broken = Run([early]).train(0, stop)
    weights = copy.deepcopy(broken.model.state_dict())
    optimizer = copy.deepcopy(broken.optimizer.state_dict())
    rng, state = torch.get_rng_state(), copy.deepcopy(early.state_dict())
    late = build(name, settings)
    resumed = Run([late])
    resumed.model.load_state_dict(weights)
    resumed.optimizer.load_state_dict(optimizer)
    late.load_state_dict(state)
    torch.set_rng_state(rng)
    resumed.train(stop)
    assert late.finish() == whole.finish()


@pytest.mark.parametrize("name", ["spectra", "coordinate"])
def test_tables_are_json_without_nan(name):
    probe = build(name, {})
    Run([probe]).train()
    table = probe.finish()
    assert Table.model_validate_json(table.model_dump_json()) == table
    json.dumps(table.model_dump(), allow_nan=False)


def test_spectra_agree_with_numpy_for_weights_and_updates():
    probe = build("spectra", {"samples": 2, "functionals": ["stable_rank", {"name": "entropy_rank", "gamma": 2}]})
    run = Run([probe], steps=3, lr=0.02)
    initial = copy.deepcopy(run.model.state_dict())
    run.train(0, 2)
    before = copy.deepcopy(run.model.state_dict())
    run.train(2)
    after = run.model.state_dict()
    rows = frame(probe.finish()).set_index(["step", "matrix", "kind", "functional"])["value"]

    def want(W: torch.Tensor) -> tuple[float, float, float]:
        s = torch.linalg.svdvals(W.double())
        p = s**2 / (s**2).sum()
        return float((s**2).sum() / s[0] ** 2), float(torch.exp(-(p * p.log()).sum())), float(s[0])

    def got(step: int, matrix: str, kind: str) -> tuple[float, float, float]:
        labels = ("stable_rank", "entropy_rank(gamma=2)", "spectral_norm")
        a, b, c = (rows[step, matrix, kind, f] for f in labels)
        return a, b, c

    key = "blocks.1.attention.qkv"
    for i, member in enumerate(("query", "key", "value")):
        assert got(0, f"{key}.{member}", "weight") == pytest.approx(want(initial[key][i]), rel=1e-6)
        assert got(3, f"{key}.{member}", "weight") == pytest.approx(want(after[key][i]), rel=1e-6)
        update = (after[key][i].double() - before[key][i].double()) / 0.02
        assert got(3, f"{key}.{member}", "update") == pytest.approx(want(update), rel=1e-6)
    name = "blocks.0.feed_forward.0.weight"
    assert got(3, name, "weight") == pytest.approx(want(after[name]), rel=1e-6)


def test_spectra_table_says_what_it_holds():
    probe = build("spectra", {"samples": 3})
    Run([probe], steps=9).train()
    table = probe.finish()
    rows = frame(table)
    assert sorted(rows.step[rows.kind == "weight"].unique()) == [0, 1, 5, 9]
    assert sorted(rows.step[rows.kind == "update"].unique()) == [1, 5, 9]
    assert rows.matrix.nunique() == 2 * (3 + 2) and set(rows.layer) == {0, 1}
    wide = rows[rows.matrix == "blocks.0.feed_forward.0.weight"]
    assert wide["rows"].unique() == [32] and wide["columns"].unique() == [16]
    assert set(table.about["definitions"]) == set(rows.functional)
    assert table.about["definitions"]["svd_entropy"]["gamma"] == 2
    assert table.about["stored_dtype"] == ["torch.float32"] and table.about["computed_in"] == "float64"
    assert set(table.about["spectra"]) == {"0", "9"}
    assert len(table.about["spectra"]["9"]["blocks.0.attention.qkv.key"]) == 16


def test_untrained_matrices_have_the_entropy_of_a_gaussian():
    from harness.metrics.marchenko_pastur import gaussian_limit

    torch.manual_seed(0)
    model = Model(width=128, layers=1)
    probe = build("spectra", {"functionals": ["svd_entropy"]})
    probe.start(model, groups(model), torch.optim.SGD(model.parameters(), lr=1.0), Task(model))
    rows = frame(probe.finish())
    value = rows[(rows.functional == "svd_entropy") & rows.matrix.str.endswith("query")]["value"].item()
    assert value == pytest.approx(gaussian_limit("svd_entropy", 128, 128), abs=0.005)


def test_heads_are_split_by_output_rows():
    probe = build("spectra", {"samples": 2, "heads": 4, "functionals": ["stable_rank"]})
    run = Run([probe], steps=2)
    initial = run.model.state_dict()["blocks.0.attention.qkv"].clone()
    run.train()
    rows = frame(probe.finish())
    assert rows.matrix.nunique() == 2 * (3 * 4 + 2)
    norm = rows[(rows.matrix == "blocks.0.attention.qkv.key.head2") & (rows.functional == "spectral_norm")]
    want = torch.linalg.matrix_norm(initial[1][8:12].double(), 2)
    assert norm[norm.step == 0]["value"].item() == pytest.approx(float(want))


def test_an_update_lost_in_rounding_or_of_lr_zero_has_no_rank():
    for lr in (0.0, 1e-10):
        probe = build("spectra", {"samples": 2})
        Run([probe], steps=2, lr=lr).train()
        rows = frame(probe.finish())
        assert rows[rows.kind == "update"]["value"].isna().all()
        assert rows[rows.kind == "weight"]["value"].notna().all()


def test_a_matrix_with_nan_gives_none_and_leaves_the_others_alone():
    probe = build("spectra", {"samples": 2, "kinds": ["weight"]})
    run = Run([probe], steps=2)
    with torch.no_grad():
        run.model.blocks[0].attention.qkv[1, 0, 0] = torch.nan
    probe.after_step(1)
    rows = frame(probe.finish())
    rows = rows[rows.step == 2]
    bad = rows.matrix == "blocks.0.attention.qkv.key"
    assert rows[bad]["value"].isna().all() and rows[~bad]["value"].notna().all()


def test_unnamed_members_of_a_stack_are_thinned():
    torch.manual_seed(0)
    model = Model(layers=1)
    model.stacks = {}
    model.blocks[0].experts = torch.nn.Parameter(torch.randn(9, 8, 8))
    probe = build("spectra", {"members": 3})
    probe.start(model, groups(model), torch.optim.SGD(model.parameters(), lr=1.0), Task(model))
    found = {m for m in frame(probe.finish()).matrix if "experts" in m}
    assert found == {"blocks.0.experts.0", "blocks.0.experts.4", "blocks.0.experts.8"}


def test_coordinates_are_sizes_of_activations_and_of_their_change():
    probe = build("coordinate", {"steps": 2, "size": 4})
    run = Run([probe], steps=4)
    tokens = run.task.probe_batch(4)
    first = run.task.forward(tokens).clone()
    run.train(0, 2)
    last = run.task.forward(tokens)
    run.train(2)
    rows = frame(probe.finish())
    assert sorted(rows.step.unique()) == [0, 1, 2]
    sites = set(zip(rows.layer, rows.site, strict=True))
    assert sites == {(-1, "embedding"), (-1, "logits")} | {
        (i, s) for i in (0, 1) for s in ("attention", "feed_forward")
    }
    values = rows[rows.site == "logits"].set_index(["step", "statistic"])["value"]
    assert values[0, "mean_abs"] == pytest.approx(float(first.abs().mean()), rel=1e-5)
    assert values[0, "change"] == values[0, "rms_change"] == 0.0
    assert values[2, "change"] == pytest.approx(float((last - first).std(correction=0)), rel=1e-4)
    assert values[2, "rms_change"] == pytest.approx(float((last - first).square().mean().sqrt()), rel=1e-4)


def test_steps_and_layers():
    assert sampled(100, 5, "even") == [0, 25, 50, 74, 99]
    assert sampled(1000, 4, "log") == [0, 9, 99, 999]
    assert sampled(3, 8, "even") == [0, 1, 2] and sampled(9, 1, "even") == [0]
    assert [layer_of(n) for n in ("blocks.12.mlp.0.weight", "readout.weight", "h.3.attn")] == [12, -1, 3]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("spectra", {"sampels": 3}, "unknown setting of probe 'spectra' 'sampels'. Did you mean 'samples'"),
        ("spectra", {"samples": 1}, "setting 'samples'.*greater than or equal to 2.*got 1"),
        ("spectra", {"kinds": ["gradient"]}, "setting 'kinds.0'.*'weight', 'update' or 'activation'"),
        ("spectra", {"functionals": ["stabel_rank"]}, "Did you mean 'stable_rank'"),
        ("coordinate", {"steps": 0}, "setting 'steps'.*got 0"),
        ("spectre", {}, "Did you mean 'spectra'"),
    ],
)
def test_wrong_settings_say_what_is_wrong(name, settings, message):
    with pytest.raises(HarnessError, match=message):
        build(name, settings)


def test_wrong_models_say_what_is_wrong():
    with pytest.raises(HarnessError, match="5 heads do not divide the 16 rows of"):
        Run([build("spectra", {"heads": 5})])
    with pytest.raises(HarnessError, match="model Model does not say how many"):
        Run([build("spectra", {"heads": "model"})])
    model = torch.nn.Sequential(torch.nn.Linear(3, 3))
    with pytest.raises(HarnessError, match="no module that a probe knows as a site"):
        build("coordinate", {}).start(model, [], torch.optim.SGD(model.parameters(), lr=1.0), Task(model))
    with pytest.raises(HarnessError, match=r"no matrix has role \['hidden'\]; this model has matrices of roles"):
        build("spectra", {}).start(model, [], torch.optim.SGD(model.parameters(), lr=1.0), Task(model))


def test_helpers_are_no_probes():
    assert {"spectra", "coordinate"} <= set(names())
    assert not any(n.startswith("_") for n in names())
    with pytest.raises(UnknownNameError):
        build("_settings", {})

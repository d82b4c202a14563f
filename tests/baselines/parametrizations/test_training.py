"""What the parametrizations promise of training, on a small perceptron in fp64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.parametrizations.mup import MuP
from baselines.parametrizations.spectral import Spectral
from baselines.parametrizations.standard import Standard
from tests.baselines.parametrizations.mlp import Run

WIDTHS = (64, 128, 256, 512)


def slope(values: list[float]) -> float:
    """Least-squares slope of log2(value) on log2(width)."""
    return float(np.polyfit(np.log2(WIDTHS[: len(values)]), np.log2(values), 1)[0])


def widths(family: str) -> tuple[int, ...]:
    return WIDTHS[:3] if family == "muon" else WIDTHS  # its SVDs are slow


@pytest.mark.parametrize(("family", "lr"), [("adam", 0.02), ("sgd", 0.05), ("muon", 0.02)])
@pytest.mark.parametrize("eps", [1e-30, 1e-3])
def test_tables_3_and_8_train_alike(family, lr, eps):
    """abc-symmetry (2203.03466, Lemma J.1), decay and a large eps included."""
    curves = [
        Run(MuP(form=form), family, 128).train(20, lr, weight_decay=0.1, eps=eps).losses
        for form in ("table3", "table8")
    ]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-9)
    assert curves[0][-1] < 0.9 * curves[0][0]


def test_tables_differ_where_eps_is_not_scaled_or_decay_is_coupled():
    """The equality above is no accident of a loose test."""
    for options in ({"eps": "constant"}, {"weight_decay": "coupled"}):
        curves = [
            Run(MuP(form=form, **options), "adam", 128).train(20, 0.02, weight_decay=0.1, eps=1e-3).losses
            for form in ("table3", "table8")
        ]
        assert abs(curves[0][-1] - curves[1][-1]) > 1e-6


@pytest.mark.parametrize("family", ["adam", "sgd", "muon"])
@pytest.mark.parametrize("method", [MuP(form="table3"), Spectral()], ids=["mup", "spectral"])
def test_spectral_norms_follow_the_condition_at_init_and_after_steps(method, family):
    """||W|| and ||W - W_0|| ~ sqrt(fan_out / fan_in) (2310.17813): flat once divided by it."""
    weights: dict[str, list[float]] = {"hidden1": [], "hidden2": [], "readout": []}
    updates: dict[str, list[float]] = {"hidden1": [], "hidden2": [], "readout": []}
    inits: dict[str, list[float]] = {"hidden1": [], "hidden2": [], "readout": []}
    for width in widths(family):
        run = Run(method, family, width).train(5, {"adam": 0.01, "sgd": 0.1, "muon": 0.02}[family])
        for name in weights:
            w, first = run.weights[name].detach(), run.first[name]
            condition = (w.shape[0] / w.shape[1]) ** 0.5
            weights[name].append(float(torch.linalg.matrix_norm(w, 2)) / condition)
            updates[name].append(float(torch.linalg.matrix_norm(w - first, 2)) / condition)
            inits[name].append(float(torch.linalg.matrix_norm(first, 2)) / condition)
    for name in weights:
        assert abs(slope(inits[name])) < 0.15, name
        assert abs(slope(weights[name])) < 0.15, name
        assert abs(slope(updates[name])) < 0.25, name


@pytest.mark.parametrize("family", ["adam", "sgd", "muon"])
@pytest.mark.parametrize(
    "method", [MuP(form="table3"), MuP(form="table8"), Spectral()], ids=["table3", "table8", "spectral"]
)
def test_features_move_alike_at_every_width(method, family):
    """Coordinate check on the change of each layer after some steps, zero readout."""
    lr = {"adam": 0.01, "sgd": 0.1, "muon": 0.02}[family]
    changes: dict[str, list[float]] = {"embedding": [], "hidden1": [], "hidden2": [], "logits": []}
    for width in widths(family):
        run = Run(method, family, width, zero_readout=True)
        before = {k: v.detach() for k, v in run.forward().items()}
        after = run.train(5, lr).forward()
        for name in changes:
            changes[name].append(float((after[name].detach() - before[name]).pow(2).mean().sqrt()))
    for name, values in changes.items():
        assert abs(slope(values)) < 0.15, (name, values)


def test_features_grow_with_width_under_standard_with_adam():
    values = []
    for width in WIDTHS:
        run = Run(Standard(), "adam", width, zero_readout=True)
        before = run.forward()["hidden2"].detach()
        after = run.train(5, 0.001).forward()["hidden2"].detach()
        values.append(float((after - before).pow(2).mean().sqrt()))
    assert slope(values) > 0.6

"""The published tables, entry by entry, and the equalities between them."""

from __future__ import annotations

import math

import pytest

from baselines.optimizers.muon import SCALES
from baselines.parametrizations.completep import CompleteP
from baselines.parametrizations.mup import MuP
from baselines.parametrizations.spectral import Spectral, spectral_std
from baselines.parametrizations.standard import Standard
from harness.errors import HarnessError, PluginError
from harness.methods.construct import build
from harness.methods.parametrization import ParameterShape, Parametrization

EVERY = [
    Standard(), MuP(form="table3"), MuP(form="table8"), Spectral(), CompleteP(), CompleteP(alpha=0.5),
    MuP(muon_scale="moonlight"), MuP(muon_scale="naive"), MuP(weight_decay="coupled", eps="constant"),
]  # fmt: skip


def place(role: str, m: float = 1.0, *, base: int = 64, vocabulary: int = 256, **more) -> ParameterShape:
    """A parameter of a model m times as wide as its base."""
    width = int(base * m)
    fans = {
        "embedding": (vocabulary, width, vocabulary, base),
        "hidden": (width, width, base, base),
        "readout": (width, vocabulary, base, vocabulary),
        "vector": (1, width, 1, base),
    }[role]
    names = ("fan_in", "fan_out", "base_fan_in", "base_fan_out")
    return ParameterShape(role=role, **dict(zip(names, fans, strict=True)), **more)  # type: ignore[arg-type]


RULES = [
    (method, role, family)
    for method in EVERY
    for role in ("embedding", "hidden", "readout", "vector")
    for family in ("adam", "sgd", "muon")
    if (role, family) != ("vector", "muon") and not (family == "sgd" and isinstance(method, CompleteP))
]


@pytest.mark.parametrize(("method", "role", "family"), RULES)
def test_at_the_base_shape_every_parametrization_equals_standard(method, role, family):
    for zero in (False, True):
        shape = place(role, zero_init=zero, residual=role == "hidden", depth=6, base_depth=6)
        assert method.scaling(shape, family) == Standard().scaling(shape, family)
    # A rectangular hidden matrix as well.
    wide = ParameterShape(role="hidden", fan_in=64, fan_out=171, base_fan_in=64, base_fan_out=171)
    assert method.scaling(wide, family) == Standard().scaling(wide, family)
    assert method.attention_scale(16, 16) == Standard().attention_scale(16, 16) == 0.25
    assert method.residual_scale(6, 6) == 1.0
    assert isinstance(method, Parametrization)


# 2203.03466, Tables 3 and 8 in powers of m: (init variance relative to the base, forward, SGD LR, Adam LR).
TABLES = {
    ("table3", "embedding"): (0, 0, 1, 0),
    ("table3", "vector"): (None, 0, 1, 0),
    ("table3", "hidden"): (-1, 0, 0, -1),
    ("table3", "readout"): (-2, 0, -1, -1),
    ("table8", "embedding"): (0, 0, 1, 0),
    ("table8", "vector"): (None, 0, 1, 0),
    ("table8", "hidden"): (-1, 0, 0, -1),
    ("table8", "readout"): (0, -1, 1, 0),
}


@pytest.mark.parametrize(("form", "role"), TABLES)
@pytest.mark.parametrize("m", [0.5, 2.0, 8.0])
def test_mup_follows_the_published_tables(form, role, m):
    variance, forward, sgd, adam = TABLES[form, role]
    method = MuP(form=form)
    base, here = method.scaling(place(role), "adam"), method.scaling(place(role, m), "adam")
    if variance is not None:
        assert (here.init_std / base.init_std) ** 2 == pytest.approx(m**variance)
    assert here.forward == pytest.approx(m**forward)
    assert here.lr == pytest.approx(m**adam)
    assert method.scaling(place(role, m), "sgd").lr == pytest.approx(m**sgd)


@pytest.mark.parametrize("role", ["embedding", "hidden", "readout"])
def test_muon_rows_of_10770(role):
    # Total factor on msign, the optimizer's own included: sqrt(d), 1, 1/sqrt(d) in Table 3's form.
    power = {"embedding": 0.5, "hidden": 0.0, "readout": -0.5}[role]
    shape = place(role, 4.0)
    own = math.sqrt(shape.fan_out / shape.fan_in) / math.sqrt(shape.base_fan_out / shape.base_fan_in)
    assert MuP(form="table3").scaling(shape, "muon").lr * own == pytest.approx(4.0**power)
    assert MuP(form="table3", muon_scale="naive").scaling(shape, "muon").lr == pytest.approx(4.0**power)


def test_muon_with_moonlight_scale_needs_one_over_sqrt_width_on_hidden_matrices():
    # 0.2 sqrt(max(n, m)) grows as sqrt(width): the correction is its inverse.
    assert MuP(muon_scale="moonlight").scaling(place("hidden", 4.0), "muon").lr == pytest.approx(0.5)
    assert MuP().scaling(place("hidden", 4.0), "muon").lr == 1.0


@pytest.mark.parametrize("scale", ["naive", "keller", "spectral", "moonlight"])
@pytest.mark.parametrize("fans", [(64, 64), (64, 256), (256, 64)])
def test_muon_lr_times_the_optimizers_own_scale_follows_the_spectral_condition(scale, fans):
    fan_in, fan_out = fans
    totals = []
    for m in (1, 2, 8):
        shape = ParameterShape(
            role="hidden", fan_in=m * fan_in, fan_out=m * fan_out, base_fan_in=fan_in, base_fan_out=fan_out
        )
        own = SCALES[scale](shape.fan_out, shape.fan_in)
        totals.append(MuP(muon_scale=scale).scaling(shape, "muon").lr * own)
    assert totals == pytest.approx([SCALES[scale](fan_out, fan_in)] * 3)


def test_readout_under_table8_has_what_table3_has_once_the_multiplier_is_counted():
    three, eight = (MuP(form=f).scaling(place("readout", 4.0), "adam") for f in ("table3", "table8"))
    assert eight.init_std * eight.forward == pytest.approx(three.init_std)
    assert eight.lr * eight.forward == pytest.approx(three.lr)
    assert eight.eps == pytest.approx(three.eps / 4.0)


def test_weight_decay_conventions():
    for role in ("embedding", "hidden", "readout"):
        for family in ("adam", "sgd", "muon"):
            s = MuP().scaling(place(role, 4.0), family)
            assert s.lr * s.weight_decay == pytest.approx(1.0)
            assert MuP(weight_decay="coupled").scaling(place(role, 4.0), family).weight_decay == 1.0
    assert MuP().scaling(place("hidden", 4.0), "adam").weight_decay == pytest.approx(4.0)


def test_eps_follows_the_gradients_entries():
    assert MuP().scaling(place("hidden", 4.0), "adam").eps == pytest.approx(0.25)
    assert MuP().scaling(place("embedding", 4.0), "adam").eps == pytest.approx(0.25)
    assert MuP(form="table3").scaling(place("readout", 4.0), "adam").eps == 1.0
    assert MuP(eps="constant").scaling(place("hidden", 4.0), "adam").eps == 1.0


def test_attention_scale():
    assert MuP().attention_scale(64, 16) == pytest.approx(4.0 / 64)
    assert MuP(attention="1/sqrt(d)").attention_scale(64, 16) == pytest.approx(1 / 8)
    assert Standard().attention_scale(64, 16) == pytest.approx(1 / 8)


def test_spectral_formula_reproduces_the_three_mup_rows():
    """Input variance constant in width, hidden 1/d, readout 1/d^2 (2310.17813)."""
    for d in (1024, 4096):
        assert spectral_std(16, d) ** 2 == pytest.approx(1 / 16)
        assert spectral_std(d, d) ** 2 == pytest.approx(1 / d)
        assert spectral_std(d, 16) ** 2 == pytest.approx(16 / d**2)


@pytest.mark.parametrize("family", ["adam", "sgd", "muon"])
@pytest.mark.parametrize("role", ["embedding", "hidden", "readout"])
def test_spectral_equals_mup_table3_where_the_width_exceeds_the_vocabulary(role, family):
    shape = place(role, 4.0, vocabulary=16)
    spectral = Spectral().scaling(shape, family)
    mup = MuP(form="table3").scaling(shape, family)
    assert spectral.lr == pytest.approx(mup.lr)
    assert spectral.init_std == pytest.approx(mup.init_std)
    assert spectral.eps == pytest.approx(mup.eps)


def test_spectral_readout_narrower_than_its_vocabulary_keeps_the_condition_with_1_over_sqrt_d():
    shape = place("readout", 2.0, vocabulary=4096)
    assert Spectral().scaling(shape, "adam").init_std == pytest.approx(1 / math.sqrt(128))


def test_completep_depth_rules():
    deep = {"depth": 16, "base_depth": 4}
    inside, outside = (place("hidden", 2.0, residual=r, **deep) for r in (True, False))
    norm = place("vector", 2.0, residual=True, **deep)
    complete, half = CompleteP(), CompleteP(alpha=0.5)
    assert complete.residual_scale(16, 4) == pytest.approx(0.25)
    assert half.residual_scale(16, 4) == pytest.approx(0.5)
    assert complete.scaling(inside, "adam").lr == pytest.approx(0.5)
    assert half.scaling(inside, "adam").lr == pytest.approx(0.5 * 0.5)
    assert half.scaling(norm, "adam").lr == pytest.approx(0.5)
    assert complete.scaling(inside, "adam").eps == pytest.approx(0.5 / 4)
    assert half.scaling(inside, "adam").eps == pytest.approx(0.5 / 2)
    assert half.scaling(inside, "adam").weight_decay == pytest.approx(2.0)
    assert complete.scaling(outside, "adam") == MuP().scaling(outside, "adam")
    assert complete.scaling(inside, "muon").lr == 1.0


def test_a_family_without_a_rule_is_an_error_that_names_those_with_one():
    for method in EVERY:
        with pytest.raises(HarnessError, match=r"no rule for optimizer family 'lion'.*'adam'.*'muon'"):
            method.scaling(place("hidden"), "lion")
    with pytest.raises(HarnessError, match="'completep' has no rule for optimizer family 'sgd'"):
        CompleteP().scaling(place("hidden"), "sgd")
    with pytest.raises(HarnessError, match="vector has no polar"):
        MuP().scaling(place("vector"), "muon")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "mup", "form": "table9"}, "'form'.*'table3' or 'table8'.*'table9'"),
        ({"name": "mup", "embedding_std": 0}, "embedding_std must be positive"),
        ({"name": "completep", "alpha": 2}, r"alpha must lie in \[0.5, 1\], got 2"),
        ({"name": "mup", "weigth_decay": "coupled"}, "Did you mean 'weight_decay'"),
        ({"name": "spectal"}, "Did you mean 'spectral'"),
    ],
)
def test_wrong_configs_say_what_is_wrong(config, message):
    with pytest.raises((PluginError, HarnessError), match=message):
        build("parametrization", config)

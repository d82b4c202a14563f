import textwrap

import pytest

from harness.errors import HarnessError, SuiteError, UnknownNameError
from harness.planning import compose
from harness.planning.merging import merged
from harness.planning.suite import Suite
from tests.conftest import TOY_SUITE
from tests.planning.texts import GOOD


@pytest.fixture
def mine(tmp_path):
    def write(text=GOOD):
        path = tmp_path / "mine.yaml"
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def test_precedence_is_suite_then_profile_then_command_line(mine):
    path = mine()
    assert compose.load(path).arms["adamw"].patch["optimizer"]["lr"] == 0.001
    assert compose.load(path, "smoke").arms["adamw"].patch["optimizer"]["lr"] == 0.002
    over = compose.load(path, "smoke", ["arms.adamw.optimizer.lr=0.01", "seeds=2"])
    assert over.arms["adamw"].patch["optimizer"]["lr"] == 0.01
    assert over.seeds == 2
    assert over.cells("adamw") == [({"size": "a"}, {"model": {"width": 8}})]


def test_every_shipped_suite_loads_at_each_of_its_profiles():
    for name in compose.shipped():
        for profile in ("smoke", "cpu"):
            assert compose.load(name, profile).profile == profile


def test_a_user_suite_may_build_on_a_shipped_one(mine):
    path = mine("defaults: [muon_scaling, _self_]\ntitle: Narrower\nuse: {arm: [adamw]}\n")
    loaded = compose.load(path, "smoke")
    assert loaded.title == "Narrower"
    assert "muon" in loaded.arms


def test_method_of_another_name_replaces_the_section(mine):
    assert merged(
        {"optimizer": {"name": "muon", "momentum": 0.9}}, {"optimizer": {"name": "adamw"}}
    ) == {"optimizer": {"name": "adamw"}}
    assert merged({"optimizer": {"name": "muon", "momentum": 0.9}}, {"optimizer": {"lr": 1.0}}) == {
        "optimizer": {"name": "muon", "momentum": 0.9, "lr": 1.0}
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("seeds: 3", "seeds: none"), r"mine\.yaml:10: key 'seeds': .*integer.*got 'none'"),
        (
            GOOD.replace("seeds: 3", "sedes: 3"),
            r"mine\.yaml:10: sedes: unknown key 'sedes'\. Did you mean 'seeds'",
        ),
        (GOOD.replace("title: Mine", ""), r"key 'title' is missing"),
        (GOOD + "use: {size: [c]}", r"unknown size 'c'.*Valid: a, b"),
        (GOOD + "use: {wide: [c]}", r"unknown axis 'wide'"),
        (GOOD.replace("lr: 0.001}}", "lr: 0.001}, hyperparameters: {from: muon}}"), r"unknown arm 'muon'"),
        (GOOD + "tuning: {space: {}, budget: 3, seeds: [1]}", r"tuning.seeds \[1\] are evaluation seeds too"),
        (GOOD + "tuning: {space: {optimizer.lr: {}}, budget: 3}", r"give either log2"),
        ("a: [b", r"mine\.yaml"),
        (GOOD.replace("cpu: {}", "fast: {}"), r"no profile 'cpu'; it has fast, smoke"),
    ],
)
def test_mistakes_name_file_line_key_value_and_valid_values(mine, text, message):
    with pytest.raises((SuiteError, UnknownNameError), match=message):
        compose.load(mine(text))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sedes=1", r"override 'sedes=1': unknown key 'sedes'. Did you mean 'seeds'"),
        ("arms.adamv.optimizer.lr=1", r"unknown arm 'adamv'. Did you mean 'adamw'"),
        ("seeds=x", r"override 'seeds=x': key 'seeds'"),
        ("seeds=1,2", r"sweeps are written as axes"),
        ("~title2", r"unknown key"),
        ("seeds=[", r"override 'seeds=\['"),
    ],
)
def test_mistakes_in_overrides_name_the_override(mine, override, message):
    with pytest.raises((SuiteError, UnknownNameError), match=message):
        compose.load(mine(), None, [override])


def test_unknown_suite_and_profile_suggest(mine):
    with pytest.raises(UnknownNameError, match="Did you mean 'muon_scaling'"):
        compose.load("muon_scalling")
    with pytest.raises(UnknownNameError, match=r"unknown profile 'cpuu'. Did you mean 'cpu'"):
        compose.split_arguments(["profile=cpuu"])


def test_only_is_checked(mine):
    loaded = compose.load(mine())
    assert compose.parse_only("arm=adamw,size=a,size=b", loaded) == {"arm": {"adamw"}, "size": {"a", "b"}}
    for text, message in (
        ("arm=x", "unknown arm 'x'"),
        ("colour=x", "unknown key 'colour'"),
        ("arm", "write key=value"),
    ):
        with pytest.raises(HarnessError, match=message):
            compose.parse_only(text, loaded)


def test_margins_are_part_of_the_claims_hash(mine):
    claim = "claims: {c: {says: a, margin: 0.01}}\n"
    assert (
        compose.load(mine(GOOD + claim)).claims_hash
        != compose.load(mine(GOOD + claim.replace("0.01", "0.02"))).claims_hash
    )


def test_an_axis_that_does_not_vary_names_no_cell():
    axes = {
        "width": {"path": "model.width", "values": [8, 16]},
        "depth": {"path": "model.depth", "values": [2, 4]},
    }
    raw = {**TOY_SUITE, "axes": axes, "tuning": None}
    both = Suite.model_validate(raw)
    assert len(both.cells("adamw")) == 4 and both.cells("adamw")[0][0] == {"width": 8, "depth": 2}
    one = Suite.model_validate({**raw, "use": {"depth": [4]}})
    assert one.cells("adamw") == [({"width": w}, {"model": {"width": w, "depth": 4}}) for w in (8, 16)]
    none = Suite.model_validate({**raw, "use": {"depth": [4], "width": [8]}})
    assert [cell for cell, _ in none.cells("adamw")] == [{"width": 8, "depth": 4}]

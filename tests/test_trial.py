import math
from pathlib import Path

import pytest

from harness.fingerprint import changed_modules, fingerprint, source_digest
from harness.streams import Streams
from harness.trial import Trial, canonical_json


def test_identity_ignores_key_order_and_integral_floats():
    a = Trial(workload="w", config={"a": 1, "b": {"c": 2.0}}, seed=0, data="d")
    b = Trial(workload="w", config={"b": {"c": 2}, "a": 1.0}, seed=0, data="d")
    assert a.identity == b.identity


@pytest.mark.parametrize(
    "change", [{"workload": "v"}, {"config": {"a": 2}}, {"seed": 1}, {"data": "e"}, {"needs": {"model": "x"}}]
)
def test_identity_depends_on_each_part(change):
    base = {"workload": "w", "config": {"a": 1}, "seed": 0, "data": "d"}
    assert Trial(**base).identity != Trial(**{**base, **change}).identity


def test_identity_is_fixed_across_versions():
    """Changing how identities are made would orphan every record: do it knowingly."""
    t = Trial(
        workload="language_model", config={"optimizer": {"name": "adamw", "lr": 0.0078125}}, seed=3, data="d"
    )
    assert t.identity == "9bff66d3675b4baffb4e91087c088932"


def test_canonical_json_refuses_what_is_not_finite():
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not finite"):
            canonical_json({"a": value})


def test_comments_docstrings_and_layout_change_no_digest_but_constants_do():
    source = 'def f(x):\n    """Doc."""\n    return x * 3\n'
    assert source_digest(source) == source_digest("# note\ndef f(x):\n\n    return (x * 3)  # why\n")
    assert source_digest(source) != source_digest(source.replace("3", "4"))
    fields = 'class A:\n    x: int = 1\n    """What it is."""\n'
    assert source_digest(fields) == source_digest(fields.replace("What it is", "Other words"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_helper_two_imports_away_is_in_the_fingerprint(package):
    package("helper.py", "CONSTANT = 1\n")
    package("middle.py", "from helper import CONSTANT\n")
    plug = package("plug.py", "import middle\n")
    before = fingerprint(["plug_module"], {"plug_module": plug})
    assert set(before) == {"plug.py", "middle", "helper"}
    package("helper.py", "CONSTANT = 2\n")
    after = fingerprint(["plug_module"], {"plug_module": plug})
    assert changed_modules(before, after) == ["helper"]


def test_helpers_in_a_folder_beside_it_are_in_the_fingerprint_too(package):
    package("parts/deep.py", "from .deeper import CONSTANT\n")
    package("parts/deeper.py", "CONSTANT = 1\n")
    plug = package("plug.py", "def late():\n    from parts.deep import CONSTANT\n    return CONSTANT\n")
    assert set(fingerprint(["plug_module"], {"plug_module": plug})) == {"plug.py", "parts.deep", "parts.deeper"}


def test_muons_helper_is_muons_alone():
    muon = fingerprint(["baselines.optimizers.muon"])
    adamw = fingerprint(["baselines.optimizers.adamw"])
    assert "baselines.optimizers._newton_schulz" in muon
    assert "baselines.optimizers._newton_schulz" not in adamw
    assert "harness.methods.optimizer" in adamw
    reached = set(fingerprint(["harness.workloads.language_model"]))
    assert not [m for m in reached if m.startswith(("harness.records", "harness.planning", "harness.runner"))]


def test_probes_are_no_part_of_a_fingerprint():
    assert not [
        m for m in fingerprint(["harness.workloads.language_model"]) if m.startswith("harness.probes")
    ]


def test_imports_inside_functions_count(package):
    package("lazy.py", "A = 1\n")
    plug = package("plug.py", "def f():\n    from lazy import A\n    return A\n")
    assert "lazy" in fingerprint(["m"], {"m": Path(plug)})


def test_streams_depend_on_seed_size_purpose_and_name_alone():
    streams = Streams(0, "width=8")
    draws = [streams.integers("batch", 3, 1000, 8)]
    streams.normal("init", "w", (4,))
    draws.append(streams.integers("batch", 3, 1000, 8))
    assert (draws[0] == draws[1]).all()
    others = [
        Streams(1, "width=8").integers("batch", 3, 1000, 8),
        Streams(0, "width=16").integers("batch", 3, 1000, 8),
        streams.integers("evaluation", 3, 1000, 8),
        streams.integers("batch", 4, 1000, 8),
    ]
    for other in others:
        assert (other != draws[0]).any()


def test_normals_are_unit_normals_and_named():
    import torch

    a = Streams(0, "s").normal("init", "a", (64, 64))
    assert torch.equal(a, Streams(0, "s").normal("init", "a", (64, 64)))
    assert abs(a.mean()) < 0.05
    assert abs(a.std() - 1) < 0.05
    assert not torch.equal(a, Streams(0, "s").normal("init", "b", (64, 64)))

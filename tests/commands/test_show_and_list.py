"""`harness list` and `harness show`: everything that has a name; its fields, their meaning and defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from harness import registry
from harness.commands import _describe, _kinds
from harness.commands._describe import REQUIRED, fields_of, parameters_of, type_text
from harness.errors import UnknownNameError
from harness.planning.suite import PROFILES
from tests.terminal import here

KINDS = _kinds.kinds()
EVERYTHING = [(kind.name, e.name) for kind in KINDS.values() if kind.describe for e in kind.entries()]


def listed(*arguments):
    done = here("list", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_list_names_every_kind():
    found = listed()
    assert list(found) == [kind.plural for kind in KINDS.values()]
    for plural, name in {
        "suites": "muon_scaling", "claims": "muon_scaling.compute_ratio", "profiles": "smoke",
        "workloads": "language_model", "norms": "rmsnorm",
        "optimizers": "muon", "parametrizations": "mup", "ranks": "stable_rank", "probes": "spectra",
        "estimators": "compute_ratio", "figures": "loss_against_lr", "executors": "local",
    }.items():  # fmt: skip
        assert name in [row["name"] for row in found[plural]]
    for plural, rows in found.items():
        for row in rows:
            assert row["summary"] and "\n" not in row["summary"], (plural, row)


@pytest.mark.parametrize("what", ["estimators", "estimator", "probes", "optimizers"])
def test_list_of_one_kind_shows_that_kind(what):
    (plural,) = listed(what)
    assert plural.startswith(what.rstrip("s"))


def test_list_of_methods_shows_every_kind_of_method():
    assert list(listed("methods")) == list(registry.KINDS.values())


def test_list_in_words_has_a_line_each():
    lines = here("list", "profiles").stdout.splitlines()
    assert lines[0] == "profiles"
    assert [line.split()[0] for line in lines[1:]] == list(PROFILES)


def test_a_plug_in_is_listed_with_its_file_and_a_broken_one_with_its_reason(tmp_path):
    (tmp_path / "broken.py").write_text("x = = 1\n")
    done = here("list", "optimizers", "--plugin", tmp_path / "broken.py")
    assert done.exit_code == 0
    assert "broken.py:1: syntax error" in done.stderr
    assert "broken.py" in done.stdout.partition("not loaded")[2]


def test_an_unknown_kind_suggests():
    done = here("list", "optimisers")
    assert done.exit_code == 2
    assert "Did you mean 'optimizers'" in done.stderr


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_everything_shows_its_fields(kind, name):
    shown = _kinds.described(f"{kind}.{name}")
    assert shown is not None
    assert shown.summary
    json.dumps(shown.as_dict(), allow_nan=False)
    text = _describe.as_text(shown)
    assert text.startswith(f"{kind} {name}")
    for field in shown.fields:
        assert f"  {field.field}: {field.type}" in text
        assert field.type not in ("", "any"), field


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_every_field_has_a_line_that_says_what_it_is(kind, name):
    shown = _kinds.described(f"{kind}.{name}")
    for field in shown.fields:
        assert field.about, f"{kind} {name}: {field.field} has no line under it"


@pytest.mark.parametrize(("word", "lines"), [
    ("optimizer.muon", ["momentum: float >= 0, < 1 = 0.95", "lr: float > 0 required", "Peak learning rate"]),
    ("estimator.compute_ratio", ["arm: str required", "metric: str = ", "at equal loss", "reads: trials",
                                 "needs 4 sizes or more"]),
    ("figure.loss_against_lr", ["Loss against learning rate", "arms: list[str] | None = null", "title: str | None",
                                "Role of the trials: evaluation, tuning or timing; default tuning where"]),
    ("probe.spectra", ["samples: int >= 2, <= 1000 = 8", "Steps measured"]),
    ("workload.language_model", ["model.width: int > 0 required", "Channels of the residual stream",
                                 "test_loss: test loss, nats per token, shown, compared, capped at trivial_loss"]),
    ("profile.smoke", ["plumbing: a few tiny trials, no verdicts", "effective_rank", "muon_scaling"]),
    ("suite", ["arms: ", "tuning.budget: int >= 1, <= 10000 required", "cache hits count"]),
])  # fmt: skip
def test_show_says(word, lines):
    done = here("show", word)
    assert done.exit_code == 0, done.output
    for line in lines:
        assert line in done.stdout


def test_show_of_a_suite_is_the_suite_as_resolved():
    done = here("show", "muon_scaling", "profile=smoke", "seeds=2", "--json")
    assert (json.loads(done.stdout)["profile"], json.loads(done.stdout)["seeds"]) == ("smoke", 2)
    assert here("show", "muon_scaling").stdout.startswith("Muon against AdamW")


@pytest.mark.parametrize(("word", "message"), [
    ("optimizer.moun", "Did you mean 'muon'"),
    ("estimator.compute_ration", "Did you mean 'compute_ratio'"),
    ("figure.loss_against_rl", "Did you mean 'loss_against_lr'"),
    ("probe.spectre", "Did you mean 'spectra'"),
    ("workload.language_modell", "Did you mean 'language_model'"),
    ("profile.cpuu", "Did you mean 'cpu'"),
    ("moun_scaling", "Did you mean 'muon_scaling'"),
])  # fmt: skip
def test_show_of_an_unknown_name_suggests(word, message):
    done = here("show", word)
    assert done.exit_code == 2
    assert message in done.stderr


# --- fields of things made for the test ---------------------------------------------------------------------


class Inner(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    rate: float = Field(default=0.5, gt=0, le=1)
    """A rate."""


class Outer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    one: Inner
    """One."""
    many: dict[str, Inner] = {}
    """Many."""
    maybe: Inner | None = None
    """Maybe."""
    kind: Literal["a.B", "c"] = "c"
    """A choice."""
    limit: float = float("inf")
    """Without end."""


def test_a_model_shows_its_sections_with_dotted_keys_and_bounds():
    found = {f.field: f for f in fields_of(Outer)}
    assert list(found) == ["one", "one.rate", "many", "many.*.rate", "maybe", "maybe.rate", "kind", "limit"]
    assert (found["one"].default, found["one.rate"].default, found["limit"].default) == (REQUIRED, 0.5, "inf")
    assert found["one.rate"].type == "float > 0, <= 1"
    assert found["many.*.rate"].about == "A rate."
    assert found["kind"].type == "Literal['a.B', 'c']"


@dataclass(frozen=True, kw_only=True)
class Record:
    number: Annotated[int, Field(ge=2)] | None = None
    """A number."""
    names: Sequence[str] = ()
    """Names."""


def test_a_dataclass_shows_its_fields():
    number, names = fields_of(Record)
    assert (number.type, number.default) == ("int >= 2 | None", None)
    assert (names.type, names.default) == ("Sequence[str]", [])


def shape(
    frames: Any, arm: str, first: int = 0, second: int = 0, metric: str = "", *,
    scale: Annotated[str, "How it is scaled."] = "log", **rest: Any,
) -> None:  # fmt: skip
    """A function.

    ``arm``: which arm, e.g. ``one``. More of it. ``first``: one; ``second``: another
    over two lines
    """


def test_a_function_shows_its_parameters():
    _, arm, first, second, metric, scale = parameters_of(shape)
    assert (arm.field, arm.type, arm.default, arm.about) == ("arm", "str", REQUIRED, "which arm, e.g. ``one``")
    assert (scale.field, scale.default, scale.about) == ("scale", "log", "How it is scaled.")
    assert (first.about, second.about) == ("one", "another over two lines")
    assert metric.about.startswith("The metric, as records call it"), "the name's meaning everywhere"


@pytest.mark.parametrize(("annotation", "text"), [
    (int, "int"), (int | None, "int | None"), (Mapping[str, Any], "Mapping[str, Any]"),
    (list[Inner], "list[Inner]"), (Annotated[float, Field(gt=0)], "float > 0"), (Any, "Any"),
])  # fmt: skip
def test_types_read_as_they_are_written(annotation, text):
    assert type_text(annotation) == text


def test_finding_a_kind_is_by_its_name():
    with pytest.raises(UnknownNameError, match="Valid: all, claims, codecs, denoisers, estimators, executors"):
        _kinds.chosen("nothing")


def test_a_claim_is_shown_with_its_source_and_how_it_is_judged():
    shown = here("show", "claim.muon_scaling.compute_ratio").stdout
    assert "Tuned Muon reaches tuned AdamW's loss with less compute." in shown
    assert "source: arXiv 2502.16982" in shown and "below: 1.0" in shown and "name: compute_ratio" in shown
    wrong = here("show", "claim.muon_scaling.compute_ration")
    assert wrong.exit_code == 2 and "Did you mean 'muon_scaling.compute_ratio'" in wrong.stderr

"""From files and words to a suite: any path, one meaning of a value, and a sentence for whatever is wrong."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError, SuiteError
from harness.planning.compose import load, shipped, split_arguments
from harness.planning.suite import Suite
from tests.planning.texts import GOOD

CLAIMS = {
    "ddcm_gaussian": "75f1d1e7d5a12e97", "ddcm_rate_distortion": "72c0fab87d89a888",
    "effective_rank": "e799f345932b430c", "moe_balancing": "6afb23c0afa216a0", "moe_dynamic_k": "4f3f039cf86ed7c6",
    "muon_scaling": "b93ea5809d653f4b", "mup_transfer": "c383ac13c95e1a25", "norm_ablation": "fc89ef17ef264d6d",
}  # fmt: skip
"""Digests of the claims that the committed reference is judged by: a change is a new registration."""


def write(folder, text=GOOD, name="mine.yaml"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("odd", [*"()=,[]#%'\" ;&{}$!~ü漢", "a b=c,(d)"])
def test_a_suite_lies_anywhere_and_is_called_anything(tmp_path, odd):
    built_on = "defaults: [muon_scaling, _self_]\ntitle: Mine\n"
    assert load(write(tmp_path / f"x{odd}y", built_on, f"m{odd}n.yaml"), "smoke").title == "Mine"


def test_a_yml_is_read_and_never_its_neighbour(tmp_path):
    write(tmp_path, GOOD.replace("Mine", "Neighbour"))
    assert load(write(tmp_path, GOOD, "mine.yml")).title == "Mine"


def test_a_suite_named_like_the_shipped_one_that_it_derives_from(tmp_path):
    text = "defaults: [muon_scaling, _self_]\ntitle: Mine\n"
    derived = load(write(tmp_path, text, "muon_scaling.yaml"), "smoke")
    assert derived.title == "Mine" and "muon" in derived.arms


def test_a_neighbour_comes_before_a_shipped_one(tmp_path):
    write(tmp_path, GOOD, "muon_scaling.yaml")
    assert load(write(tmp_path, "defaults: [muon_scaling, _self_]\nseeds: 7\n", "more.yaml")).seeds == 7
    assert load(str(tmp_path / "more.yaml")).title == "Mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a suite is a mapping of keys, found nothing"),
        ("[a, b]", "a suite is a mapping of keys, found list"),
        (GOOD.replace("seeds: 3", "seeds: 010"), "010 is octal to some readers"),
        (GOOD.replace("lr: 0.001", "lr: yes"), "lr.*'yes'"),
        (GOOD.replace("lr: 0.001}", "lr: '0,01'}"), "lr.*'0,01'"),
        (GOOD + "seeds: 4\n", "key 'seeds' stands twice"),
        (GOOD.replace("profiles:\n", "profiles: [cpu]\nx-rest:\n"), "key 'profiles': a mapping"),
        (GOOD.replace("cpu: {}", "cpu: [1]"), r"key 'profiles\.cpu': a mapping"),
        ("defaults: muon_scaling\n" + GOOD, "key 'defaults': a list such as"),
        ("defaults: [mun_scaling, _self_]\n" + GOOD, "unknown file 'mun_scaling'. Did you mean 'muon_scaling'"),
        ("defaults: [../../etc/passwd, _self_]\n" + GOOD, "is no name of a suite"),
        ("defaults: [{shared: [a, b]}, _self_]\n" + GOOD, "give one file of the group"),
        (GOOD.replace("title: Mine", "title: ${oc.env:HOME}"), "resolvers such as .* read what lies outside"),
        (GOOD.replace("title: Mine", "title: ${nowhere.at_all}"), "nowhere"),
        (GOOD.replace("title: Mine", "title: ${title}"), "mine.yaml: "),
        (GOOD.replace("title: Mine", "title: ???"), "title"),
        (GOOD.replace("arms:\n  adamw:", "arms: [a]\nx-arms:\n  adamw:"), "arms"),
    ],
)
def test_what_is_wrong_with_a_file_is_a_sentence_that_names_it(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(HarnessError, match=message) as told:
        load(path).cells("adamw")
        from harness.planning.checks import check_suite

        problems = check_suite(load(path))
        raise HarnessError("\n".join(problems))
    assert "mine.yaml" in str(told.value)


ODD_VALUES = ["/tmp/my data (1).txt", "a,b/c d.txt", "x=y", "50% [of it].txt", "données/é.txt"]


@pytest.mark.parametrize("value", ODD_VALUES)
def test_a_value_is_text_where_it_is_no_value_of_the_grammar(tmp_path, value):
    path = write(tmp_path)
    assert load(path, overrides=[f"+base.data.path={value}"]).base["data"]["path"] == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds=010", "010 is octal"),
        ("title=${oc.env:HOME}", "resolvers such as"),
        ("title.more=3", "'title' is no section but 'Mine'"),
        ("sources.0=x", "'sources' is no section but a list"),
        ("seeds=[", r"override 'seeds=\['"),
        ("seeds=1,2", "sweeps are written as axes"),
    ],
)
def test_what_is_wrong_with_an_override_is_a_sentence_that_names_it(tmp_path, override, message):
    path = write(tmp_path, GOOD + "sources: [a]\n")
    with pytest.raises(SuiteError, match=message) as told:
        load(path, overrides=[override])
    assert override in str(told.value)


def test_interpolation_means_the_same_in_a_file_and_in_an_override(tmp_path):
    filed = load(write(tmp_path, GOOD.replace("batch_size: 4", "batch_size: '${seeds}'")))
    worded = load(write(tmp_path), overrides=["base.training.batch_size=${seeds}"])
    assert filed.base == worded.base and worded.base["training"]["batch_size"] == 3
    later = load(write(tmp_path), overrides=["base.training.batch_size=${seeds}", "seeds=5"])
    assert later.base["training"]["batch_size"] == 5


def test_numbers_in_overrides_are_the_files_own(tmp_path):
    lr = "arms.adamw.optimizer.lr"
    for text in ("1e-3", "0.001", ".001", "1.0E-3"):
        assert load(write(tmp_path), overrides=[f"{lr}={text}"]).arms["adamw"].patch["optimizer"]["lr"] == 0.001


def test_two_profiles_are_refused():
    with pytest.raises(SuiteError, match="'profile=cpu' after 'profile=smoke': give one profile"):
        split_arguments(["profile=smoke", "profile=cpu"])


def test_a_files_own_anchors_are_no_part_of_the_suite(tmp_path):
    text = "x-many: &many {batch_size: 8, steps: 2}\n" + GOOD.replace("{batch_size: 4, steps: 2}", "*many")
    assert load(write(tmp_path, text)).base["training"] == {"batch_size": 8, "steps": 2}


@pytest.mark.parametrize("name", shipped())
def test_claims_are_those_that_the_reference_was_judged_by(name):
    assert load(name, "cpu").claims_hash == CLAIMS[name]


LINES = GOOD.strip().splitlines()
PIECES = st.sampled_from(
    ["", ":", "[", "{", "&a", "*a", "${seeds}", "${x:y}", "- ", "\t", "yes", "010", "'", "=", "ü"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.integers(0, 40), PIECES), min_size=1, max_size=4))
def test_a_mangled_file_is_a_suite_or_a_sentence(tmp_path, edits):
    lines = list(LINES)
    for line, column, piece in edits:
        lines[line] = lines[line][:column] + piece + lines[line][column:]
    try:
        assert isinstance(load(write(tmp_path, "\n".join(lines))), Suite)
    except HarnessError as error:
        assert "mine.yaml" in str(error) or "override" in str(error)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["seeds", "title", "base.training.batch_size", "+base.x.y", "~note", "arms.adamw", "a.b", ""]),
    st.text("0123456789abc=,.[]{}()'\" $:-+~#%\\", max_size=8),
)
def test_a_mangled_override_is_a_suite_or_a_sentence(tmp_path, key, value):
    with contextlib.suppress(HarnessError):
        assert isinstance(load(write(tmp_path), overrides=[f"{key}={value}"]), Suite)

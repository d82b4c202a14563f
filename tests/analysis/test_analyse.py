import bz2
import gzip
import json
import lzma
import subprocess
import sys

import pytest

from harness.analysis.analyse import analyse_csv, as_text
from harness.analysis.lookup import run
from harness.analysis.results_file import read_results
from harness.errors import ClaimError, UnknownNameError
from harness.reading import parse_yaml
from tests.analysis.records import evidence, sweep, trials


@pytest.fixture
def results(tmp_path):
    table = trials()
    out = table.rename(columns={"test_loss": "loss", "flops": "compute"})[
        ["arm", "size", "compute", "seed", "loss"]
    ]
    file = tmp_path / "results.csv"
    out.assign(diverged=0).to_csv(file, index=False)
    return file


def edit(file, change):
    lines = file.read_text().splitlines()
    file.write_text("\n".join(change(lines)) + "\n")
    return file


def test_a_csv_gives_the_same_answer_as_records(results):
    answer = analyse_csv(results, "compute_ratio", arm="muon", baseline="adamw", below=1)
    direct = run(evidence(trials()), {"name": "compute_ratio", "arm": "muon", "baseline": "adamw"})
    assert answer["parts"][0]["estimate"] == pytest.approx(direct.shown(direct.parts[0].value))
    assert answer["resolution"] == "holds"
    json.dumps(answer, allow_nan=False)
    text = as_text(answer)
    assert "expected below 1: holds" in text
    assert "shared_law_with_floor" in text


def test_compute_alone_names_the_sizes(results):
    edit(results, lambda ls: [",".join(v for i, v in enumerate(line.split(",")) if i != 1) for line in ls])
    answer = analyse_csv(results, "compute_ratio", arm="muon", baseline="adamw")
    assert answer["num_sizes"] == 6
    assert "resolution" not in answer


def test_metric_may_be_named_as_in_the_file(results):
    answer = analyse_csv(results, "mean_difference", arm="muon", baseline="adamw", metric="loss")
    assert answer["parts"][0]["estimate"] < 0


def test_diverged_trials_need_their_cap(results):
    edit(results, lambda ls: [*ls[:-1], ls[-1].rsplit(",", 2)[0] + ",,1"])
    with pytest.raises(ClaimError, match="no trial reports trivial_loss"):
        analyse_csv(results, "mean_difference", arm="muon", baseline="adamw")
    edit(results, lambda ls: [ls[0] + ",trivial_loss", *(line + ",5.5" for line in ls[1:])])
    answer = analyse_csv(results, "mean_difference", arm="muon", baseline="adamw")
    assert any("diverged" in n for n in answer["notes"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda ls: [ls[0].replace("loss", "los"), *ls[1:]],
            "missing column loss; it has arm, size, compute, seed, los",
        ),
        (
            lambda ls: [ls[0].replace("size", "a").replace("compute", "b"), *ls[1:]],
            "missing column size (or compute)",
        ),
        (lambda ls: ls[:1], "no rows"),
        (lambda ls: [ls[0], ls[1].replace(",0,", ",x,", 1), *ls[2:]], "row 2: seed is 'x', not a finite number"),
        (
            lambda ls: [*ls[:2], ls[2].rsplit(",", 1)[0] + ",perhaps", *ls[3:]],
            "row 3: diverged is 'perhaps'; write 0 or 1",
        ),
        (
            lambda ls: [*ls[:2], ls[2].rsplit(",", 2)[0] + ",nan,0", *ls[3:]],
            "mark diverged trials in a column 'diverged'",
        ),
        (lambda ls: [], "not a readable CSV file"),
    ],
)
def test_wrong_files_are_explained(results, change, message):
    with pytest.raises(ClaimError) as error:
        analyse_csv(edit(results, change), "mean_difference", arm="muon", baseline="adamw")
    assert message in str(error.value)
    assert str(results) in str(error.value)


def test_wrong_calls_are_explained(results, tmp_path):
    with pytest.raises(ClaimError, match="no such file"):
        analyse_csv(tmp_path / "none.csv", "compute_ratio")
    with pytest.raises(UnknownNameError, match="Did you mean 'compute_ratio'"):
        analyse_csv(results, "compute_ratios")
    with pytest.raises(ClaimError, match="needs arm, baseline"):
        analyse_csv(results, "compute_ratio")
    with pytest.raises(ClaimError, match="give one of below=x"):
        analyse_csv(results, "compute_ratio", arm="muon", baseline="adamw", below=1, above=0)
    with pytest.raises(ClaimError, match="run it or name an arm that ran: adamw, muon"):
        analyse_csv(results, "compute_ratio", arm="lion", baseline="adamw")
    with pytest.raises(ClaimError, match="reads probes"):
        analyse_csv(results, "share_by_seed", arm="muon", baseline="adamw")


def rewritten(results, change):
    """The file with its rows, as lists of fields, changed."""
    rows = [line.split(",") for line in results.read_text().splitlines()]
    results.write_text("\n".join(",".join(r) for r in change(rows)) + "\n")
    return results


PAIR = {"arm": "muon", "baseline": "adamw"}


@pytest.mark.parametrize("separator", ["\t", ";"])
def test_tabs_and_semicolons_are_read(results, separator):
    plain = analyse_csv(results, "mean_difference", **PAIR)
    results.write_text(results.read_text().replace(",", separator))
    assert analyse_csv(results, "mean_difference", **PAIR) == plain


def test_decimal_commas_are_read_between_semicolons(results):
    plain = analyse_csv(results, "mean_difference", **PAIR)
    results.write_text(results.read_text().replace(",", ";").replace(".", ","))
    assert analyse_csv(results, "mean_difference", **PAIR) == plain


@pytest.mark.parametrize(("suffix", "module"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_compressed_files_are_read_and_broken_ones_refused(results, suffix, module):
    packed = results.with_name(results.name + suffix)
    packed.write_bytes(module.compress(results.read_bytes()))
    assert len(read_results(packed)) == len(read_results(results))
    packed.write_bytes(module.compress(results.read_bytes())[:60])
    with pytest.raises(ClaimError, match="not a readable"):
        read_results(packed)


@pytest.mark.parametrize(
    ("name", "typed"), [*((n, n) for n in (".01", "NA", "muon#2", "1e-3", "true", "yes", "12")), ("007", "'007'")]
)
def test_arms_keep_their_names(results, name, typed):
    rewritten(results, lambda rows: [[name if f == "muon" else f for f in r] for r in rows])
    said = parse_yaml(typed, "arm")  # what the command line makes of it
    answer = analyse_csv(results, "mean_difference", arm=said, baseline="adamw")
    assert answer["arguments"]["arm"] == name
    assert answer["num_sizes"] == 6


def test_comment_lines_and_empty_rows_are_passed_over_and_rows_keep_their_line_numbers(results):
    lines = results.read_text().splitlines()
    results.write_text("\n".join(["# measured last week", lines[0], "", ",,,,,", *lines[1:]]) + "\n")
    assert len(read_results(results)) == 36
    edit(results, lambda ls: [*ls[:4], ls[4].replace("d24", "d24").replace(",0,", ",0.5,", 1), *ls[5:]])
    with pytest.raises(ClaimError, match=r"row 5: seed is 0.5; write whole numbers"):
        read_results(results)


def test_a_column_may_have_another_name(results):
    plain = analyse_csv(results, "mean_difference", **PAIR)
    rewritten(results, lambda rows: [["val/loss" if f == "loss" else f for f in r] for r in rows])
    assert analyse_csv(results, "mean_difference", **PAIR, **{"column.loss": "val/loss"}) == plain
    with pytest.raises(ClaimError, match=r"column.loss=vall: no such column; it has arm, size, compute"):
        analyse_csv(results, "mean_difference", **PAIR, **{"column.loss": "vall"})
    with pytest.raises(ClaimError, match=r"another name is given as column.loss=NAME"):
        analyse_csv(results, "mean_difference", **PAIR)


def test_loss_and_test_loss_together_need_a_word(results):
    rewritten(results, lambda rows: [[*r, "test_loss" if i == 0 else r[4]] for i, r in enumerate(rows)])
    with pytest.raises(ClaimError, match="columns 'loss' and 'test_loss' both stand for 'test_loss'; keep one"):
        analyse_csv(results, "mean_difference", **PAIR)
    assert analyse_csv(results, "mean_difference", **PAIR, **{"column.loss": "test_loss"})
    rewritten(results, lambda rows: [r[:4] + r[5:] for r in rows])
    assert analyse_csv(results, "mean_difference", **PAIR)["num_sizes"] == 6  # the records' own name alone


def test_a_column_given_twice_is_refused(results):
    rewritten(results, lambda rows: [[*r, r[4]] for r in rows])
    with pytest.raises(ClaimError, match="columns 'loss' and 'loss' both stand for 'test_loss'"):
        read_results(results)


@pytest.fixture
def widths(tmp_path):
    table = sweep({"mup": 0.0}).rename(columns={"validation_loss": "loss", "optimizer.lr": "lr"})
    file = tmp_path / "widths.csv"
    table[["arm", "width", "lr", "seed", "loss"]].to_csv(file, index=False)
    return file


def test_widths_of_a_sweep_are_an_axis(widths):
    answer = analyse_csv(widths, "optimum_slope", arm="mup")
    assert answer["parts"][0]["estimate"] == pytest.approx(0, abs=0.1)


def test_widths_in_words_are_refused_where_a_slope_needs_numbers(widths):
    rewritten(widths, lambda rows: [rows[0], *([a, f"w{w}", *r] for a, w, *r in rows[1:])])
    for estimator in ("optimum_slope", "transfer_gap", "wider_is_better", "axis_slope"):
        extra = {"metric": "loss"} if estimator == "axis_slope" else {}
        with pytest.raises(ClaimError, match="width 'w32' is no number"):
            analyse_csv(widths, estimator, arm="mup", **extra)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows[:2], ["", *rows[2][1:]], *rows[3:]], "row 3: arm is empty"),
        (lambda rows: [*rows[:2], [*rows[2][:4], "NaN", "0"], *rows[3:]], "row 3: loss is 'NaN', not a finite"),
        (lambda rows: [*rows[:2], [*rows[2][:3], "", *rows[2][4:]], *rows[3:]], "row 3: seed is '', not a finite"),
        (lambda rows: [*rows[:2], [*rows[2], "7"], *rows[3:]], "row 3: 7 fields under 6 columns"),
    ],
)
def test_rows_with_holes_are_named(results, change, message):
    with pytest.raises(ClaimError) as error:
        read_results(rewritten(results, change))
    assert message in str(error.value)


def test_one_seed_a_size_is_warned_of(results):
    assert not any("one seed in every cell" in n for n in analyse_csv(results, "compute_ratio", **PAIR)["notes"])
    rewritten(results, lambda rows: [r for r in rows if r[3] in ("seed", "0")])
    answer = analyse_csv(results, "compute_ratio", **PAIR)
    assert any("one seed in every cell" in n for n in answer["notes"])
    assert "note: one seed in every cell" in as_text(answer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"where": 3}, "where is 3: input should be a valid"),
        ({"form": ["a"]}, "form is ['a']: input should be 'auto'"),
        ({"size": 7}, "size is 7: input should be a valid string"),
        ({"metric": ["x"]}, "metric is ['x']: input should be a valid string"),
        ({"metric": "seconds"}, "the trials have no column 'seconds'"),
        ({"compute": "arm"}, "could not convert string to float: 'muon'"),
    ],
)
def test_arguments_of_a_wrong_kind_are_explained(results, arguments, message):
    with pytest.raises(ClaimError) as error:
        analyse_csv(results, "compute_ratio", **PAIR, **arguments)
    assert message in str(error.value)


def test_the_analysis_needs_no_torch_hydra_or_mlflow():
    code = (
        "import sys, harness.analysis.analyse, harness.analysis.claims, harness.analysis.power; "
        "from harness.analysis.lookup import names; names(); "
        "print(sorted({'torch', 'hydra', 'mlflow', 'optuna'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )

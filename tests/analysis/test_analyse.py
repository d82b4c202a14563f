import json
import subprocess
import sys

import pytest

from harness.analysis.analyse import analyse_csv, as_text
from harness.errors import ClaimError, UnknownNameError
from tests.analysis.records import trials


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
    from harness.analysis.estimate import Evidence, run

    answer = analyse_csv(results, "compute_ratio", arm="muon", baseline="adamw", below=1)
    direct = run(Evidence(trials=trials()), {"name": "compute_ratio", "arm": "muon", "baseline": "adamw"})
    assert answer["parts"][0]["estimate"] == pytest.approx(direct.shown(direct.parts[0].value))
    assert answer["outcome"] == "holds"
    json.dumps(answer, allow_nan=False)
    text = as_text(answer)
    assert "expected below 1: holds" in text
    assert "shared_law_with_floor" in text


def test_compute_alone_names_the_sizes(results):
    edit(results, lambda ls: [",".join(v for i, v in enumerate(line.split(",")) if i != 1) for line in ls])
    answer = analyse_csv(results, "compute_ratio", arm="muon", baseline="adamw")
    assert answer["num_sizes"] == 6
    assert "outcome" not in answer


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


def test_the_analysis_needs_no_torch_hydra_or_mlflow():
    code = (
        "import sys, harness.analysis.analyse, harness.analysis.claims, harness.analysis.power; "
        "from harness.analysis.estimate import names; names(); "
        "print(sorted({'torch', 'hydra', 'mlflow', 'optuna'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )

"""The whole path as a user takes it: commands in processes of their own, on a small text."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.records.frames import tables_frame
from harness.records.reference import read_reference
from harness.records.store import Store
from tests.terminal import ROOT, SMALL, harness


def test_a_second_run_trains_nothing(smoke):
    results, words = smoke
    done = harness("run", *words, "--results", results, "--no-track")
    assert " 0 run now" in done.stdout


def test_plan_says_what_is_done(smoke):
    results, words = smoke
    plan = json.loads(harness("plan", *words, "--results", results, "--json").stdout)[0]
    assert (plan["done"], plan["missing"], plan["stale"], plan["up_to_more"]) == (24, 0, 0, 0)
    assert {t["role"] for t in plan["trials"]} == {"tuning", "evaluation"}


def test_report_has_ledger_tables_and_figures(smoke):
    results, _ = smoke
    harness("report", "profile=smoke", "--results", results)
    folder = results / "report" / "smoke"
    content = json.loads((folder / "report.json").read_text())
    wanted = {
        "id", "suite", "says", "source", "kind", "expects", "estimate", "ci95", "df", "p_holm", "num_sizes",
        "num_seeds", "num_trials", "seed_sd", "profile", "scope", "scale_factor", "verdict",
        "minimum_detectable_effect", "estimators_agree",
    }  # fmt: skip
    assert content["claims"]
    for claim in content["claims"]:
        assert wanted <= set(claim), wanted - set(claim)
        assert claim["verdict"] is None, "profile smoke gives no verdict"
    assert (folder / "index.html").is_file()
    for pattern in ("figures/*.svg", "figures/*.png", "tables/*.csv", "tables/*.md", "tables/*.tex"):
        assert list(folder.glob(pattern)), pattern


def test_reference_alone_gives_the_same_claims(smoke, tmp_path):
    results, words = smoke
    copy = tmp_path / "results"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("data"))
    (copy / "data").symlink_to(results / "data")
    harness("regress", *words, "--results", copy, "--update", "--reason", "test")
    harness("report", "profile=smoke", "--results", copy)
    live = json.loads((copy / "report" / "smoke" / "report.json").read_text())["claims"]
    shutil.rmtree(copy / "runs")
    harness("report", "profile=smoke", "--reference", "--results", copy)
    kept = json.loads((copy / "report" / "smoke-reference" / "report.json").read_text())["claims"]
    assert kept == live
    # What its claims take in unasked is kept too: the blocks that tell the held-out sample's own error.
    rows = read_reference(Store(copy), "muon_scaling", "smoke")[1]
    assert set(tables_frame(rows)["table"]) == {"test_loss_blocks"}
    assert (copy / "reference" / "smoke" / "muon_scaling.jsonl").stat().st_size < 2**20


def test_regress_runs_sentinels_and_cleans_up(smoke, tmp_path):
    results, words = smoke
    copy = tmp_path / "results"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("data"))
    (copy / "data").symlink_to(results / "data")
    harness("regress", *words, "--results", copy, "--update", "--reason", "test")
    same = harness("regress", *words, "--results", copy)
    assert "no regression: 3 arms" in same.stdout and "3 bit-identical" in same.stdout
    assert not (copy / "runs" / "gate").exists()


def test_a_truncated_record_runs_again(smoke, tmp_path):
    results, words = smoke
    copy = tmp_path / "results"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("data"))
    (copy / "data").symlink_to(results / "data")
    victim = next((copy / "runs" / "records").rglob("*.json"))
    before = json.loads(victim.read_text())
    victim.write_bytes(victim.read_bytes()[:100])
    done = harness("run", *words, "--results", copy, "--no-track", "--executor", "inline")
    assert "moved to" in done.stderr
    assert " 1 run now" in done.stdout
    assert json.loads(victim.read_text())["metrics"]["test_loss"] == before["metrics"]["test_loss"]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the code that a test may edit, and a command that runs it."""
    root = tmp_path / "checkout"
    for folder in ("harness", "baselines", "suites"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))

    def command(*arguments):
        return harness(*arguments, cwd=root, env={"PYTHONPATH": str(root)})

    return root, command


def test_editing_a_helper_of_muon_makes_muons_trials_stale_and_adamws_not(smoke, checkout):
    results, words = smoke
    root, command = checkout

    def states():
        plan = json.loads(command("plan", *words, "--results", results, "--json").stdout)[0]
        return {(t["arm"], t["state"]) for t in plan["trials"]}, {t["why"] for t in plan["trials"]} - {""}

    assert {s for _, s in states()[0]} == {"done"}
    helper = root / "baselines" / "optimizers" / "_newton_schulz.py"
    source = helper.read_text()
    helper.write_text(source + "\n# a comment changes nothing\n")
    assert {s for _, s in states()[0]} == {"done"}
    helper.write_text(source + "\nCONSTANT = 1\n")
    found, why = states()
    assert {s for arm, s in found if arm == "adamw"} == {"done"}
    assert {s for arm, s in found if arm == "muon"} == {"stale"}
    assert why == {"changed: baselines.optimizers._newton_schulz"}


def test_accept_carries_stale_records_over(smoke, checkout, tmp_path):
    results, words = smoke
    root, command = checkout
    copy = tmp_path / "results"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("data"))
    (copy / "data").symlink_to(results / "data")
    helper = root / "baselines" / "optimizers" / "adamw.py"
    helper.write_text(helper.read_text() + "\nCONSTANT = 1\n")
    command("accept", *words, "--results", copy, "--reason", "an unused constant")
    plan = json.loads(command("plan", *words, "--results", copy, "--json").stdout)[0]
    assert plan["stale"] == 0
    assert "an unused constant" in (copy / "accepted.jsonl").read_text()


# --- kill -9 ------------------------------------------------------------------------------------------------

LONG = [
    "muon_scaling", "profile=smoke", "use.size=[d24]", "use.arm=[adamw]", "tuning.budget=2",
    "base.training.tokens_per_parameter=12", *SMALL,
]  # fmt: skip


def losses(results):
    return {
        p.name[:32]: json.loads(p.read_text())["metrics"]["test_loss"]
        for p in (results / "runs" / "records").rglob("*.json")
    }


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, text):
    results = tmp_path_factory.mktemp("undisturbed") / "results"
    harness("run", *LONG, text, "--results", results, "--no-track", "--executor", "inline")
    return losses(results)


def children(pid):
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(c) for c in out] + [g for c in out for g in children(int(c))]


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened")


@pytest.mark.skipif(shutil.which("pgrep") is None, reason="needs pgrep to find the worker")
@pytest.mark.parametrize("victim", ["worker", "runner"])
def test_kill_9_in_mid_trial_loses_nothing(victim, undisturbed, text, tmp_path):
    results = tmp_path / "results"
    command = [
        sys.executable, "-m", "harness", "run", *LONG, text, "--results", str(results), "--no-track",
        "--checkpoint-seconds", "0.05", "--workers", "1",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: list((results / "runs" / "work").glob("*/checkpoint*")) or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0]
    family = children(process.pid)
    if victim == "runner":
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: not any(Path(f"/proc/{c}").exists() for c in family), 10)
    else:
        busiest = max(
            family,
            key=lambda c: (
                Path(f"/proc/{c}/stat").read_text().split()[13:15]
                and int(Path(f"/proc/{c}/stat").read_text().rpartition(")")[2].split()[11])
            ),
        )
        os.kill(busiest, signal.SIGKILL)
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 3, output
        assert "crashed" in output
    again = harness("run", *LONG, text, "--results", results, "--no-track", "--workers", "1")
    assert "done" in again.stdout
    assert losses(results) == undisturbed
    records = [json.loads(p.read_text()) for p in (results / "runs" / "records").rglob("*.json")]
    assert max(r["resumed"] for r in records) == 1
    assert {r["status"] for r in records} == {"completed"}


# --- mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "muon_scalling"], "Did you mean 'muon_scaling'"),
        (["run", "muon_scaling", "profile=cpuu"], "Did you mean 'cpu'"),
        (["run"], "give a suite"),
        (["check", "muon_scaling", "arms.muon.optimizer.momentun=0.9"], "Did you mean 'momentum'"),
        (["check", "muon_scaling", "base.model.depht=2"], "Did you mean 'depth'"),
        (["report", "profile=gpu", "--results", "nowhere"], "harness run all profile=gpu"),
        (["accept", "muon_scaling"], "--reason is needed"),
        (["regress", "muon_scaling", "--update"], "--update needs --reason"),
        (["list", "optimisers"], "Did you mean 'optimizers'"),
        (["execute", "no_such_file.json"], "no_such_file.json"),
        (["compare", "no_such_file.py", "--suite", "muon_scaling"], "no such file"),
    ],
)
def test_mistakes_end_with_a_message_and_exit_2(arguments, message, tmp_path):
    done = harness(*arguments, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_results_folder_that_is_a_file_is_a_clear_error(tmp_path, text):
    (tmp_path / "results").write_text("")
    done = harness(
        "run", "muon_scaling", "profile=smoke", text, "--results", tmp_path / "results", "--no-track", check=False
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_help_list_and_report_never_import_torch(smoke):
    results, _ = smoke
    for arguments in (["--help"], ["list"], ["report", "profile=smoke", "--results", str(results)]):
        code = (
            "import sys; sys.argv = ['harness'] + " + repr(arguments) + "\n"
            "from harness.cli import main\n"
            "try:\n    main()\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
            "assert 'torch' not in sys.modules"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]


def test_compare_puts_a_users_method_beside_cached_baselines(smoke, tmp_path):
    results, words = smoke
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    method = tmp_path / "sign_sgd.py"
    method.write_text(readme.partition("```python\n")[2].partition("```")[0])
    copy = tmp_path / "results"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("data"))
    (copy / "data").symlink_to(results / "data")
    done = harness(
        "compare", method, *words[1:], "tuning.budget=6", "--suite", "muon_scaling", "--against", "adamw",
        "--results", copy,
    )  # fmt: skip
    folder = copy / "compare" / "muon_scaling_with_sign_sgd"
    claims = json.loads((folder / "report.json").read_text())["claims"]
    assert [c["id"] for c in claims] == ["sign_sgd_below_adamw"]
    assert (folder / "sign_sgd.py").is_file()
    assert str(folder) in done.stdout

"""A round planned here, executed where only torch, numpy, pydantic and PyYAML are, and imported back."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness import exchange, registry, rounds, runner
from harness.errors import HarnessError
from harness.execution.executors import executor
from harness.plugins import Plugin
from harness.records.store import Store
from tests.terminal import ROOT, harness
from tests.toys.needing import PLUGIN, codecs

BARE = ("torch", "numpy", "pydantic", "PyYAML")
WORDS = ["muon_scaling", "profile=smoke", "use.size=[d16]", "use.arm=[adamw]", "tuning.budget=2",
         "base.training.evaluation_tokens=1024", "base.training.test_tokens=1024"]  # fmt: skip


def requirements(names):
    """These distributions and all that they require here."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name.lower() in {f.lower() for f in found}:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(distribution.metadata["Name"])
        for line in distribution.requires or []:
            if "extra ==" not in line:
                todo.append(line.split(";")[0].split("[")[0].split("=")[0].split("<")[0].split(">")[0].split("!")[0]
                            .split("~")[0].split("(")[0].strip())  # fmt: skip
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder of packages that holds the four, what they require, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    for name in requirements(BARE):
        distribution = importlib.metadata.distribution(name)
        tops = {f.parts[0] for f in distribution.files or [] if f.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    return folder


def test_a_round_executes_on_a_bare_machine_and_comes_back(bare, text, tmp_path):
    results = tmp_path / "results"
    round_file = tmp_path / "round.zip"
    harness("plan", *WORDS, text, "--results", results, "--export", round_file)
    code = (
        "import sys\n"
        "from harness import exchange\n"
        "code = exchange.main(sys.argv[1:])\n"
        "extra = {'pandas', 'hydra', 'optuna', 'typer', 'rich', 'mlflow', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {extra}' if extra else code)"
    )
    # -S: no site-packages, so only the bare folder and this checkout are importable.
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(round_file), "--out", str(tmp_path / "out"),
         "--data", str(results / "data")],
        capture_output=True, text=True, env={"PYTHONPATH": f"{ROOT}{os.pathsep}{bare}", "OMP_NUM_THREADS": "1",
                                             "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2/2 completed" in done.stdout
    harness("execute", round_file, "--import", tmp_path / "out", "--results", results)
    plan = json.loads(harness("plan", *WORDS, text, "--results", results, "--json").stdout)[0]
    assert plan["done"] == 2
    assert plan["missing"] == 2  # the fresh seeds that follow


def test_pandas_is_not_importable_there(bare):
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import pandas"], capture_output=True, text=True, env={"PYTHONPATH": str(bare)}
    )
    assert "No module named 'pandas'" in done.stderr


def archive(path, head, **members):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(rounds.CONTENT, head)
        for name, content in members.items():
            file.writestr(name, content)


@pytest.mark.parametrize(("head", "message"), [
    (None, "not a round written by `harness plan --export`: it is no ZIP archive"),
    ("nonsense", "not a round written by"),
    ('{"format": 99, "jobs": []}', "round format 99, this version reads 3: export again"),
    ('{"format": 3, "plugins": {}}', "not a round written by .*: 'jobs'"),
    ('{"format": 3, "plugins": {}, "artifacts": {}, "jobs": [{"job": {"trial": {}}, "label": ""}]}',
     "not a round written by .*: .* validation errors for Job"),
    ('{"format": 3, "plugins": {}, "jobs": [],'
     '"artifacts": {"..": {"a": {"file": "b", "sha256": "", "bytes": 0}}}}',
     r"a file '\.\./b' lies outside of its folder"),
])  # fmt: skip
def test_a_file_that_is_no_round_is_named(tmp_path, head, message):
    path = tmp_path / "round.zip"
    if head is None:
        path.write_text("{}")
    else:
        archive(path, head)
    with pytest.raises(HarnessError, match=message):
        rounds.read_round(path)


def round_with(path, plugin, digest, **packed):
    packed = {**rounds._packed(plugin), **packed}
    head = {"format": rounds.FORMAT, "plugins": {digest: packed}, "artifacts": {}, "jobs": []}
    archive(path, json.dumps(head))
    return path


def test_a_plugin_travels_with_what_it_imports_and_is_what_it_was(tmp_path):
    files = {"mine.py": b"import beside\n", "parts/beside.py": b"\xef\xbb\xbfSIZE = 1\n"}
    plugin = Plugin(path=Path("mine.py"), files=files)
    found = rounds.read_round(round_with(tmp_path / "a.zip", plugin, plugin.digest))
    assert found.plugins == {plugin.digest: plugin}
    with pytest.raises(HarnessError, match=r"plug-in mine\.py is not what it was when exported; export again"):
        rounds.read_round(round_with(tmp_path / "b.zip", plugin, "0" * 32))


@pytest.mark.parametrize("name", ["../../evil.py", "/tmp/evil.py"])
def test_a_plugin_whose_files_lie_outside_of_its_folder_is_refused(tmp_path, name):
    path = round_with(tmp_path / "a.zip", Plugin(path=Path("mine.py"), files={}), "0" * 32, files={name: ""})
    with pytest.raises(HarnessError, match="lies outside of its folder"):
        rounds.read_round(path)


# --- artifacts that trials read ------------------------------------------------------------------------------


@pytest.fixture
def needing(tmp_path):
    """(store with trained denoisers, plans whose pending trials read them)."""
    registry.load_plugin(PLUGIN)
    store, suite = Store(tmp_path / "results"), codecs(arms={"ddcm": {}})
    runner.run([suite], store, StopAfter(2))
    return store, runner.plan_all([suite], store.load(), store)


class StopAfter:
    """Runs a round in this process if it has so many trials, and is interrupted in any other."""

    capacity = 1

    def __init__(self, trials):
        self.trials = trials

    def run(self, jobs, folders, on_event):
        if len(jobs) != self.trials:
            raise KeyboardInterrupt
        return executor("inline").run(jobs, folders, on_event)

    def close(self):
        pass


def test_artifacts_travel_with_the_trials_that_read_them_and_records_come_back(needing, tmp_path):
    store, plans = needing
    file = tmp_path / "round.zip"
    assert exchange.export_round(plans, store, file) == 8
    shutil.rmtree(store.artifacts)
    said = []
    assert exchange.execute_round(file, tmp_path / "out", tmp_path / "data", said.append) == 0
    assert said[0].startswith("1/8 completed")
    assert exchange.execute_round(file, tmp_path / "out", tmp_path / "data", said.append) == 0
    executed = Store(tmp_path / "out").load()
    assert len(executed) == 8
    assert exchange.import_records(tmp_path / "out", store.root) == 8
    plan = runner.plan_all([plans[0].suite], store.load(), store)[0]
    assert plan.counts()["done"] == 10
    evaluated = [i for i in plan.items if i.planned.role == "evaluation"]
    assert {i.record.metrics["psnr"] for i in evaluated if i.planned.trial.seed == 0} == {21.0, 22.0}


def test_a_round_of_other_artifacts_runs_again_where_the_first_was_executed(needing, tmp_path, monkeypatch):
    store, plans = needing
    exchange.export_round(plans, store, tmp_path / "one.zip")
    exchange.execute_round(tmp_path / "one.zip", tmp_path / "out", tmp_path / "data", lambda line: None)
    monkeypatch.setenv("TOY_BIAS", "1.0")
    shutil.rmtree(store.records)
    suite = plans[0].suite
    runner.run([suite], store, StopAfter(2))
    exchange.export_round(runner.plan_all([suite], store.load(), store), store, tmp_path / "two.zip")
    exchange.execute_round(tmp_path / "two.zip", tmp_path / "out", tmp_path / "data", lambda line: None)
    exchange.import_records(tmp_path / "out", store.root)
    plan = runner.plan_all([suite], store.load(), store)[0]
    assert plan.counts()["done"] == 10
    assert max(i.record.metrics["psnr"] for i in plan.items if i.planned.arm == "ddcm") == 32.01


def test_damaged_artifacts_are_neither_exported_nor_unpacked(needing, tmp_path):
    store, plans = needing
    file = tmp_path / "round.zip"
    exchange.export_round(plans, store, file)
    damaged = file.read_bytes().replace(b'{"gain": 2.0}', b'{"gain": 3.0}')
    (tmp_path / "damaged.zip").write_bytes(damaged)
    with pytest.raises(HarnessError, match=r"weights/denoiser.json is damaged; copy or export it again"):
        exchange.execute_round(tmp_path / "damaged.zip", tmp_path / "out", tmp_path / "data")
    next(store.artifacts.rglob("denoiser.json")).write_text('{"gain": 3.0}')
    with pytest.raises(HarnessError, match=r"denoiser.json.*altered"):
        exchange.export_round(plans, store, file)


def test_a_round_without_an_artifact_that_a_trial_reads_is_named(needing, tmp_path):
    store, plans = needing
    exchange.export_round(plans, store, tmp_path / "round.zip")
    with zipfile.ZipFile(tmp_path / "round.zip") as whole, zipfile.ZipFile(tmp_path / "part.zip", "w") as part:
        part.writestr(rounds.CONTENT, whole.read(rounds.CONTENT))
    with pytest.raises(HarnessError, match=r"codecs ddcm .* needs artifacts of 'denoiser' that are not in it"):
        rounds.read_round(tmp_path / "part.zip")


# --- records that come back ----------------------------------------------------------------------------------


def test_importing_from_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(HarnessError, match="no records"):
        exchange.import_records(tmp_path, tmp_path / "results")

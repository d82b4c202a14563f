"""Provenance, numerics class, determinism, limits of the machine, and the probe."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from harness import environment as env
from harness.determinism import make_deterministic


def test_environment_is_plain_data_without_the_hosts_name():
    import json

    about = env.environment("cpu", 2)
    text = json.dumps(about, allow_nan=False)
    assert platform.node() not in text.replace('"Linux', "") or len(platform.node()) < 4
    assert about["packages"]["torch"] == torch.__version__ and about["threads"] == 2
    assert about["cpus"] >= 1 and about["device"] == "cpu"
    assert str(Path.home()) not in text


@pytest.fixture
def no_settings(monkeypatch):
    for setting in env.numeric_settings(os.environ):
        monkeypatch.delenv(setting.partition("=")[0])


def test_numerics_class_names_torch_and_the_cpus_capability(no_settings):
    name = env.numerics_class("cpu")
    assert name == env.numerics_class("cpu", 7)
    assert torch.__version__ in name and torch.backends.cpu.get_cpu_capability() in name
    assert name.endswith("deterministic")


def test_variables_that_change_last_digits_are_part_of_the_class(no_settings, monkeypatch):
    before = env.numerics_class("cpu")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    assert env.numerics_class("cpu") == before
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    monkeypatch.setenv("TORCHINDUCTOR_FREEZING", "1")
    assert env.numerics_class("cpu") == f"{before}, MKL_CBWR=AVX2, TORCHINDUCTOR_FREEZING=1"


def test_what_the_switches_set_counts_only_where_it_is_another():
    assert env.numeric_settings({"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "HOME": "/"}) == []
    assert env.numeric_settings({"CUBLAS_WORKSPACE_CONFIG": ":16:8"}) == ["CUBLAS_WORKSPACE_CONFIG=:16:8"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_no_cuda_is_said():
    assert env.missing_device("cuda:0") == "no CUDA device on this machine" and env.missing_device("cpu") == ""
    with pytest.raises(RuntimeError, match="no CUDA device"):
        env.numerics_class("cuda")


@pytest.fixture
def restored():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_make_deterministic_sets_threads_and_algorithms(restored):
    torch._C._set_deterministic_algorithms(False, warn_only=False)
    make_deterministic("cpu", 1)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
    make_deterministic("cuda:0", 1)
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    make_deterministic("cpu", 1)
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def _repository(folder: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (folder / "harness").mkdir(parents=True)
    (folder / "harness" / "trial.py").write_text("x = 1\n")
    (folder / "README").write_text("words\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder


def test_git_state_sees_changed_and_new_code_but_not_documents(tmp_path, monkeypatch):
    root = _repository(tmp_path / "repo")
    monkeypatch.setattr(env, "_root", lambda: root)
    look = env.git_state.__wrapped__
    clean = look()
    assert re.fullmatch("[0-9a-f]{40}", clean["sha"]) and not clean["dirty"] and clean["difference"] == ""
    (root / "README").write_text("other words\n")
    assert look() == clean
    (root / "harness" / "trial.py").write_text("x = 2\n")
    changed = look()
    assert changed["dirty"] and changed["difference"]
    (root / "harness" / "new.py").write_text("y = 1\n")
    more = look()
    (root / "harness" / "new.py").write_text("y = 2\n")
    assert len({changed["difference"], more["difference"], look()["difference"]}) == 3


def test_another_projects_repository_is_not_ours(tmp_path, monkeypatch):
    root = _repository(tmp_path / "repo")
    installed = root / "venv" / "site-packages"
    (installed / "harness").mkdir(parents=True)
    (installed / "harness" / "trial.py").write_text("x = 1\n")
    monkeypatch.setattr(env, "_root", lambda: installed)
    assert env.git_state.__wrapped__() is None
    monkeypatch.setattr(env, "_root", lambda: tmp_path)
    assert env.git_state.__wrapped__() is None


def _cgroup(folder: Path, lines: str, files: dict[str, str]) -> tuple[Path, Path]:
    proc = folder / "cgroup"
    proc.write_text(lines)
    for name, text in files.items():
        path = folder / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "fs").mkdir(exist_ok=True)
    return proc, folder / "fs"


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000", "a/cpu.max": "800000 100000"}, 3.0),
        ("0::/gone\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("4:cpu,cpuacct:/x\n3:memory:/y\n",
         {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"}, 2.5),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "rubbish"}, None),
    ],
)
def test_control_group_quota(tmp_path, lines, files, expected):
    assert env._cpu_quota(*_cgroup(tmp_path, lines, files)) == expected


def test_cpu_slots_respects_affinity_and_quota(monkeypatch):
    monkeypatch.setattr(env, "available_cpus", lambda: [2, 3, 5, 7])
    monkeypatch.setattr(env, "_cpu_quota", lambda: None)
    assert env.cpu_slots() == 4
    monkeypatch.setattr(env, "_cpu_quota", lambda: 2.7)
    assert env.cpu_slots() == 2
    monkeypatch.setattr(env, "_cpu_quota", lambda: 0.3)
    assert env.cpu_slots() == 1


def test_measure_reports_positive_figures_and_restores_threads(restored, tmp_path, monkeypatch):
    monkeypatch.setattr(env, "cpu_slots", lambda: 1)
    torch.set_num_threads(2)
    found = env.measure(tmp_path, seconds=0.02)
    assert torch.get_num_threads() == 2
    assert set(found["cpu"]) == {"1"}
    for figures in found["cpu"].values():
        assert set(figures) == {"fp32_gflops", "bf16_gflops", "training_tokens_per_second"}
        assert all(value > 0 for value in figures.values())
    assert len(found["cuda"]) == torch.cuda.device_count()
    assert 0 < found["memory_free_gib"] <= found["memory_gib"] and found["disk_free_gib"] >= 0


def test_the_rate_is_calls_a_second_by_the_best_window(monkeypatch):
    now, calls = [0.0], [0]

    def work():
        calls[0] += 1
        now[0] += 0.01 if calls[0] < 20 else 0.02

    monkeypatch.setattr(env.time, "perf_counter", lambda: now[0])
    assert env._rate(work, "cpu", 0.3) == pytest.approx(100)

"""The GPU path end to end: the same trials on a CUDA device as on a CPU, and what only a GPU has.

Everything here skips without a CUDA device.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import data
from harness.determinism import make_deterministic
from harness.environment import environment, numerics_class
from harness.execution.executors.local import LocalExecutor
from harness.execution.jobs import Folders, job_of
from harness.methods.construct import build
from harness.methods.optimizer import ParameterGroup
from harness.methods.roles import Role
from harness.records.record import Record
from harness.trial import Trial
from harness.workload import Outcome
from harness.workloads._language_task import STEPS_AHEAD
from tests.workloads import tiny, tiny_pictures

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """As workers are set up."""
    make_deterministic(DEVICE)
    yield
    make_deterministic("cpu")


def on(device: str, **compute: Any) -> dict[str, Any]:
    return {"compute": {"device": device, **compute}}


def losses(outcome: Outcome) -> dict[str, Any]:
    """What must not differ by a bit: final losses and curves."""
    names = ("train_loss_final", "validation_loss", "test_loss")
    return {**{n: outcome.metrics[n] for n in names}, **{k: c.values for k, c in outcome.curves.items()}}


# --- methods ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon", "torch_muon", "normalized_adam"])
def test_an_optimizer_steps_as_on_a_cpu(name: str) -> None:
    extra = {"precision": "float32"} if name == "muon" else {}
    tolerance = 2e-2 if name == "torch_muon" else 1e-4  # torch's Muon works in bfloat16
    shapes: list[tuple[Role, tuple[int, ...]]] = [
        ("hidden", (3, 32, 32)), ("hidden", (64, 16)), ("embedding", (50, 16)), ("vector", (16,)),
    ]
    generator = torch.Generator().manual_seed(1)
    start = [torch.randn(shape, generator=generator) for _, shape in shapes]
    gradients = [[torch.randn(shape, generator=generator) for _, shape in shapes] for _ in range(3)]

    def trained(device: str) -> list[torch.Tensor]:
        parameters = [torch.nn.Parameter(w.clone().to(device)) for w in start]
        groups = [
            ParameterGroup(
                parameters=[p], names=[role], role=role, fan_in=p.shape[-1], fan_out=shape[-2] if p.ndim > 1 else 1
            )
            for p, (role, shape) in zip(parameters, shapes, strict=True)
        ]
        optimizer = build("optimizer", {"name": name, "lr": 0.02, **extra}, "test").build(groups)
        for step in gradients:
            for p, g in zip(parameters, step, strict=True):
                p.grad = g.to(device)
            optimizer.step()
        return [p.detach().cpu() for p in parameters]

    for mine, theirs, before in zip(trained(DEVICE), trained("cpu"), start, strict=True):
        moved = (theirs - before).norm()
        assert moved > 0
        assert (mine - theirs).norm() < tolerance * moved


def test_adamw_is_torchs_fused_kernel() -> None:
    task = tiny.task(compute={"device": DEVICE})
    assert all(group["fused"] for group in task.optimizer.param_groups)


# --- training --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_run_repeats_bit_for_bit_and_is_near_the_cpus(name: str, tmp_path: Path) -> None:
    optimizer = {"name": name, "lr": 0.01}
    cpu = tiny.run(tmp_path / "cpu", optimizer=optimizer)
    first = tiny.run(tmp_path / "a", optimizer=optimizer, **on(DEVICE))
    assert losses(tiny.run(tmp_path / "b", optimizer=optimizer, **on(DEVICE))) == losses(first)
    assert first.metrics["validation_loss"] == pytest.approx(cpu.metrics["validation_loss"], rel=1e-2)


def test_pictures_lie_on_the_device_and_a_run_on_them_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_pictures.use(monkeypatch)
    cpu, gpu = tiny_pictures.task(), tiny_pictures.task(**on(DEVICE))
    for a, b in zip(gpu.batch(7, 0), cpu.batch(7, 0), strict=True):
        assert a.device.type == DEVICE
        # One product may be fused with a sum.
        torch.testing.assert_close(a.cpu(), b, rtol=1e-6, atol=1e-6)
    held = gpu.held_out("validation")
    torch.cuda.set_sync_debug_mode("error")
    try:
        gpu.batch(8, 0)
        with torch.no_grad():
            gpu._losses(gpu.items("validation", held[:4]))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    first = tiny_pictures.run(tmp_path / "a", **on(DEVICE))
    assert losses(tiny_pictures.run(tmp_path / "b", **on(DEVICE))) == losses(first)
    near = tiny_pictures.run(tmp_path / "cpu").metrics["validation_loss"]
    assert first.metrics["validation_loss"] == pytest.approx(near, rel=1e-2)


def test_bfloat16_and_compiled_runs_repeat_and_are_near_float32(tmp_path: Path) -> None:
    exact = tiny.run(tmp_path / "exact", **on(DEVICE)).metrics["validation_loss"]
    for compute in ({"dtype": "bfloat16"}, {"compile": True}, {"dtype": "bfloat16", "compile": True}):
        key = "-".join(map(str, compute))
        first = tiny.run(tmp_path / f"{key}1", **on(DEVICE, **compute))
        assert losses(tiny.run(tmp_path / f"{key}2", **on(DEVICE, **compute))) == losses(first)
        assert first.metrics["validation_loss"] == pytest.approx(exact, rel=0.05)


def test_masters_and_optimizer_state_stay_float32_under_bfloat16() -> None:
    task = tiny.task(optimizer={"name": "muon", "lr": 0.01}, compute={"device": DEVICE, "dtype": "bfloat16"})
    task.loss(task.batch(0, 0)).backward()
    task.optimizer.step()
    assert {p.dtype for p in task.model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in task.model.parameters() if p.grad is not None} == {torch.float32}
    states = [v for s in task.optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    assert states and all(v.dtype == torch.float32 for v in states)


def test_the_corpus_lies_on_the_device_and_gives_the_cpus_batches() -> None:
    cpu, gpu = tiny.task(), tiny.task(compute={"device": DEVICE})
    for step in (0, 7):
        batch = gpu.batch(step, 0)
        assert batch.device.type == DEVICE
        assert torch.equal(batch.cpu(), cpu.batch(step, 0))
    assert gpu._tokens("train").device.type == DEVICE


def test_the_host_need_not_wait_for_a_batch_or_an_evaluation_pass() -> None:
    task = tiny.task(compute={"device": DEVICE})
    task.batch(0, 0)
    held = task.held_out("validation")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, STEPS_AHEAD):
            task.batch(step, 0)
        with torch.no_grad():
            task._losses(task.items("validation", held[:4]))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_resumed_run_is_bit_identical(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sections = {"optimizer": {"name": name, "lr": 0.01}, **on(DEVICE)}
    whole = tiny.run(tmp_path / "whole", **sections)
    every = {"checkpoint_seconds": 0.0, "checkpoint_token": "code"}
    tiny.run_killed_at(7, tmp_path / "cut", monkeypatch, fields=every, **sections)
    resumed = tiny.run(tmp_path / "cut", fields=every, **sections)
    assert resumed.resumed == 1
    assert losses(resumed) == losses(whole)


def test_divergence_is_seen_though_losses_are_looked_at_rarely(tmp_path: Path) -> None:
    training = {"clip_norm": None, "steps": 40}
    wild = {"optimizer": {"lr": 1e12}, "training": training, "model": {"qk_norm": False}}
    cpu = tiny.run(tmp_path / "cpu", **wild)
    gpu = tiny.run(tmp_path / "gpu", **wild, **on(DEVICE))
    assert gpu.diverged_step == cpu.diverged_step


# --- probes ----------------------------------------------------------------------------------------------

PROBES = {"spectra": {"samples": 3, "functionals": ["svd_entropy", "stable_rank"]}, "coordinate": {"steps": 4}}


def test_probes_change_nothing_and_see_what_they_see_on_a_cpu(tmp_path: Path) -> None:
    without = tiny.run(tmp_path / "a", **on(DEVICE))
    watched = tiny.run(tmp_path / "b", fields={"probes": PROBES}, **on(DEVICE))
    assert losses(watched) == losses(without)
    cpu = tiny.run(tmp_path / "c", fields={"probes": PROBES})
    for name in PROBES:
        assert watched.probes[name].columns == cpu.probes[name].columns
        at = cpu.probes[name].columns.index("value")
        for mine, theirs in zip(watched.probes[name].rows, cpu.probes[name].rows, strict=True):
            assert mine[:at] == theirs[:at]
            assert mine[at] == pytest.approx(theirs[at], rel=0.05, abs=1e-3)


# --- slots and provenance --------------------------------------------------------------------------------


def test_a_worker_on_a_gpu_slot_leaves_a_record_that_names_the_gpu(tmp_path: Path) -> None:
    corpus = tmp_path / "text.txt"
    corpus.write_text("\n\n".join(f"{i} {i * i} is a square" for i in range(20_000)), encoding="utf-8")
    config = tiny.raw(compute={"device": DEVICE})
    config["data"] = {"path": str(corpus)}
    built = data.load(config["data"], tmp_path / "data", None)
    trial = Trial(workload="language_model", config=config, seed=0, data=built.digest)
    folders = Folders(data=tmp_path / "data", work=tmp_path / "work")
    records: list[Record] = []
    with LocalExecutor() as executor:
        for _, record in executor.run([job_of(trial)], folders, lambda *_: None):
            records.append(record)
    assert [r.status for r in records] == ["completed"], records[0].reason
    assert records[0].environment["gpu"]["name"] == torch.cuda.get_device_name(0)
    assert torch.cuda.get_device_name(0) in records[0].numerics_class


def test_the_environment_and_class_of_numerics_name_the_gpu() -> None:
    assert environment(DEVICE)["gpu"]["memory_gib"] > 0
    assert torch.cuda.get_device_name(0) in numerics_class(DEVICE)

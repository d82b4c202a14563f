"""The language-model workload: config and its messages, batches, losses, cost."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness.errors import DataError, HarnessError
from harness.methods.construct import build
from harness.models.parameters import places
from harness.workloads import language_model
from harness.workloads._language_task import LanguageTask
from tests.workloads import tiny

# --- config ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"width": 20}}, "width 20 is not divisible by head_width 8; valid head widths.*2, 4, 10, 20"),
        ({"model": {"head_width": 5}}, "head_width 5 is odd"),
        ({"model": {"base_width": 12}}, "base_width 12 is not divisible by head width 8; .* .even. that divides"),
        ({"training": {"tokens": 99}}, "one of tokens, tokens_per_parameter, steps .*tokens 99 and steps 12"),
        ({"training": {"steps": None}}, r"exactly one of .*\(got none of them\)"),
        ({"training": {"gradient_accumulation": 3}}, "batch_size 4 is not divisible .* 3; valid: 1, 2, 4"),
        ({"training": {"schedule": "constant"}}, "'linear' or 'cosine'"),
        ({"training": {"warmup_share": 1.0}}, "less than 1"),
        ({"model": {"feed_forward": "gelu"}}, "'relu2' or 'swiglu'"),
        ({"model": {"widht": 32}}, "widht"),
    ],
)
def test_bad_values_are_named_with_the_valid_ones(sections: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tiny.config(**sections)


def test_every_field_is_documented() -> None:
    def undocumented(model, path: str = ""):
        for name, field in model.model_fields.items():
            if not field.description:
                yield f"{path}{name}"
            if hasattr(field.annotation, "model_fields"):
                yield from undocumented(field.annotation, f"{path}{name}.")

    assert list(undocumented(language_model.Config)) == []


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        ({"steps": 7}, 7), ({"tokens": 640}, 10), ({"tokens": 1}, 1),
        ({"tokens_per_parameter": 2.0}, round(2 * 2 * 12 * 16**2 / 64)),
    ],
)
def test_length_of_training(length: dict, steps: int) -> None:
    assert tiny.config(training={"steps": None, **length}).steps == steps


def test_config_and_cost_do_not_import_torch() -> None:
    code = (
        "import sys; from harness.workloads import language_model as m;"
        "c = m.Config.model_validate({'model': {'width': 16, 'depth': 1}, 'training': {'steps': 1},"
        "'optimizer': {'name': 'adamw', 'lr': 0.1}}); assert c.steps == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- cost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("feed_forward", ["relu2", "swiglu"])
def test_cost_is_that_of_the_model_that_is_built(name: str, feed_forward: str) -> None:
    sections = {"model": {"feed_forward": feed_forward}, "optimizer": {"name": name, "lr": 0.01}}
    config, task = tiny.config(**sections), tiny.task(**sections)
    cost = language_model.cost(config)
    where = places(task.model)
    matrices = [(n, p) for n, p in task.model.named_parameters() if where[n].role != "vector"]
    assert cost.parameters == sum(p.numel() for n, p in matrices if where[n].role == "hidden")
    assert cost.tokens == 12 * 4 * 16
    optimizer = build("optimizer", config.optimizer)
    per_step = optimizer.flops_per_step([(where[n].role, tuple(p.shape)) for n, p in matrices])
    model = cost.flops - 12 * per_step
    # 6 FLOPs a matrix parameter (readout in, embedding out) and token, and 12 T d L for attention.
    used = sum(p.numel() for n, p in matrices if where[n].role != "embedding")
    assert model == pytest.approx((6 * used + 12 * 16 * 16 * 2) * cost.tokens)


# --- batches ---------------------------------------------------------------------------------------------


def test_batches_depend_on_seed_size_and_step_alone() -> None:
    a, b = tiny.task(), tiny.task(optimizer={"name": "muon", "lr": 0.1}, norm={"name": "layernorm"})
    b.batch(5, 0)  # order of draws is no part of it
    assert torch.equal(a.batch(3, 0), b.batch(3, 0))
    assert not torch.equal(a.batch(3, 0), a.batch(4, 0))
    assert not torch.equal(a.batch(3, 0), tiny.task(seed=1).batch(3, 0))
    assert not torch.equal(a.batch(3, 0), tiny.task(model={"width": 32}).batch(3, 0))


def test_windows_cross_to_the_device_rarely_and_are_those_of_their_own_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crossings: list[tuple[int, ...]] = []
    across = LanguageTask._across

    def counted(self: LanguageTask, places: np.ndarray) -> torch.Tensor:
        crossings.append(places.shape)
        return across(self, places)

    monkeypatch.setattr(LanguageTask, "_across", counted)
    task = tiny.task(training={"gradient_accumulation": 2})
    batches = {(step, part): task.batch(step, part) for step in range(60) for part in range(2)}
    for _ in range(3):
        task.evaluate("validation")
    # 60 steps are 25 + 25 + 10; the validation windows cross once.
    assert crossings == [(25, 4)] * 3 + [(20,)]
    assert all(torch.equal(tiny.task(training={"gradient_accumulation": 2}).batch(*at), batches[at])
               for at in ((0, 1), (24, 0), (25, 1), (59, 0)))  # fmt: skip
    offsets = task.streams.integers("batch", 59, len(task.corpus.split("train")) - 16, 4)
    assert [bytes(row.tolist()) for row in batches[59, 1]] == [
        bytes(task.corpus.split("train")[o : o + 17]) for o in offsets[2:]
    ]


def test_accumulated_parts_are_the_batch() -> None:
    whole, parts = tiny.task(), tiny.task(training={"gradient_accumulation": 2})
    assert torch.equal(torch.cat([parts.batch(2, 0), parts.batch(2, 1)]), whole.batch(2, 0))


def test_windows_are_runs_of_the_split() -> None:
    task = tiny.task()
    text = bytes(task.corpus.split("train"))
    for row in task.batch(0, 0):
        assert bytes(row.tolist()) in text
    assert task.batch(0, 0).shape == (4, 17)


def test_evaluation_windows_are_fixed_spread_out_and_disjoint() -> None:
    task = tiny.task()
    offsets = task._fixed_windows("validation", 320)
    assert len(offsets) == 20
    assert (np.diff(offsets) >= 16).all()
    assert offsets[0] == 0
    assert offsets[-1] == len(task.corpus.split("validation")) - 17
    assert len(task._fixed_windows("validation", 10**9)) == (3000 - 1) // 16


def test_sixteen_bit_tokens_give_the_same_batches() -> None:
    config = tiny.config()
    a, b = (LanguageTask(config, tiny.TinyCorpus(d), 0) for d in ("uint8", "uint16"))
    assert torch.equal(a.batch(0, 0), b.batch(0, 0))


def test_a_split_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(DataError, match=r"'train'.*fewer than model.context \+ 1"):
        tiny.task(model={"context": 10**6}).batch(0, 0)


# --- losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_resident_corpus_gives_the_batches_of_a_mapped_one(dtype: str) -> None:
    mapped = LanguageTask(tiny.config(), tiny.TinyCorpus(dtype), 0)
    resident = LanguageTask(tiny.config(), tiny.TinyCorpus(dtype), 0)
    for split in ("train", "validation"):
        wide = mapped._tokens(split).astype("uint8" if dtype == "uint8" else "int32")
        resident._splits[split] = torch.from_numpy(wide)
    assert torch.equal(resident.batch(5, 0), mapped.batch(5, 0))
    assert resident.evaluate("validation") == mapped.evaluate("validation")


def test_evaluation_repeats_and_equals_the_mean_over_windows() -> None:
    task = tiny.task()
    first = task.evaluate("validation")
    assert task.evaluate("validation") == first
    offsets = task.held_out("validation")
    with torch.no_grad():
        each = [task._eager_loss(task.items("validation", offsets[i : i + 1])).item() for i in range(20)]
    assert first == pytest.approx(np.mean(each), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_test_loss_is_that_of_training_and_its_blocks_average_to_it(dtype: str) -> None:
    # 27 windows in 16 blocks: of two sizes.
    task = tiny.task(compute={"dtype": dtype}, training={"test_tokens": 27 * 16})
    passes = count_calls(task.model)
    loss, tables = task.test()
    assert passes() == 1
    held = task.held_out("test")
    with torch.no_grad():
        assert loss == task._eager_loss(task.items("test", held)).item()
        each = [task._eager_loss(task.items("test", held[i : i + 1])).item() for i in range(27)]
    table = tables["test_loss_blocks"]
    assert table.columns == ["block", "loss", "tokens"]
    assert [row[0] for row in table.rows] == list(range(16))
    assert [row[2] for row in table.rows] == [32] * 11 + [16] * 5
    assert sum(b * n for _, b, n in table.rows) / (27 * 16) == pytest.approx(loss, rel=1e-6)
    # Neighbours in order: two windows a block, then one. Another batch rounds otherwise in bfloat16.
    exact = {"float32": 1e-5, "bfloat16": 1e-2}[dtype]
    assert table.rows[1][1] == pytest.approx((each[2] + each[3]) / 2, rel=exact)
    assert table.rows[15][1] == pytest.approx(each[26], rel=exact)


def test_a_short_test_split_has_a_block_for_each_window() -> None:
    _, tables = tiny.task(training={"test_tokens": 48}).test()
    assert [row[2] for row in tables["test_loss_blocks"].rows] == [16] * 3


def count_calls(module: torch.nn.Module) -> Callable[[], int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return lambda: len(calls)


def test_metrics_of_a_run(tmp_path: Path) -> None:
    outcome = tiny.run(tmp_path)
    m = outcome.metrics
    assert m["validation_bits_per_byte"] == pytest.approx(m["validation_loss"] / math.log(2))
    assert m["trivial_loss"] == pytest.approx(math.log(256))
    assert m["tokens"] == 12 * 64
    assert m["steps"] == 12
    assert m["flops"] == pytest.approx(m["flops_model"] + m["flops_optimizer"])
    assert m["flops"] == language_model.cost(tiny.config()).flops
    assert m["validation_loss"] < m["trivial_loss"]
    assert m["parameters_total"] == m["parameters"] + 2 * 256 * 16 + 5 * 16
    assert m["tokens_per_second"] == pytest.approx(m["tokens"] / outcome.seconds["training"])
    assert outcome.curves["validation_loss"].steps == [4, 8, 12]
    assert outcome.curves["validation_loss"].values[-1] == m["validation_loss"]
    assert list(outcome.tables) == ["test_loss_blocks"]
    rows = outcome.tables["test_loss_blocks"].rows
    assert sum(loss * n for _, loss, n in rows) / 480 == pytest.approx(m["test_loss"])
    assert set(outcome.seconds) >= {"setup", "training", "evaluation", "probes"}


def test_training_learns_more_than_frequencies(tmp_path: Path) -> None:
    share = np.bincount(tiny.TinyCorpus().split("validation")) / 3000
    entropy = -sum(p * math.log(p) for p in share if p)
    sections = {"optimizer": {"name": "muon", "lr": 0.05}, "training": {"steps": 250}}
    loss = tiny.run(tmp_path, **sections).metrics["validation_loss"]
    assert loss is not None
    assert loss < entropy - 0.1


def test_bits_per_byte_are_unknown_where_bytes_are() -> None:
    assert language_model.bits_per_byte(1.0, math.nan) is None
    assert language_model.bits_per_byte(None, 1.0) is None
    assert language_model.bits_per_byte(math.log(2) * 4, 4.0) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["standard", "mup", "spectral", "completep"])
def test_parametrizations_agree_at_the_base_shape(name: str, tmp_path: Path) -> None:
    loss = tiny.run(tmp_path / name, parametrization={"name": name}).metrics["validation_loss"]
    assert loss == pytest.approx(tiny.run(tmp_path / "s").metrics["validation_loss"], rel=1e-5)


def test_muon_layernorm_swiglu_and_bfloat16_run(tmp_path: Path) -> None:
    outcome = tiny.run(
        tmp_path, optimizer={"name": "muon", "lr": 0.02}, norm={"name": "layernorm"},
        model={"feed_forward": "swiglu", "base_width": 8, "base_depth": 1, "zero_readout": True},
        parametrization={"name": "mup"}, compute={"dtype": "bfloat16"}, training={"schedule": "cosine"},
    )
    assert outcome.metrics["validation_loss"] < math.log(256)


def test_trials_of_equal_shape_share_their_compiled_step(monkeypatch: pytest.MonkeyPatch) -> None:
    compilations = []

    def count(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        compilations.append(len(inputs))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=count))

    def train(width: int, optimizer: str) -> None:
        task = tiny.task(
            compute={"compile": True}, model={"width": width}, optimizer={"name": optimizer, "lr": 0.01}
        )
        for step in range(2):
            task.loss(task.batch(step, 0)).backward()
            task.optimizer.step()
            task.optimizer.zero_grad()

    # More shapes than the eight after which torch's default gives up compiling.
    widths = range(8, 8 + 9 * 8, 8)
    for width in widths:
        train(width, "adamw")
    assert len(compilations) == len(widths)
    for width in widths:
        train(width, "muon")
    assert len(compilations) == len(widths)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_cpu_and_repeats(tmp_path: Path) -> None:
    cpu = tiny.run(tmp_path / "a").metrics["validation_loss"]
    sections = {"compute": {"device": "cuda"}}
    first = tiny.run(tmp_path / "b", **sections).metrics["validation_loss"]
    assert first == pytest.approx(cpu, rel=1e-3)
    assert tiny.run(tmp_path / "c", **sections).metrics["validation_loss"] == first
    bf16 = tiny.run(tmp_path / "d", compute={"device": "cuda", "dtype": "bfloat16", "compile": True})
    assert bf16.metrics["validation_loss"] == pytest.approx(cpu, rel=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_cuda_without_a_device_says_so() -> None:
    with pytest.raises(HarnessError, match="no CUDA device here; valid here: cpu"):
        tiny.task(compute={"device": "cuda"})

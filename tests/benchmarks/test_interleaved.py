"""Who is called when, what is kept of it, and what each group gives; nothing here is timed."""

from __future__ import annotations

import itertools

import pytest
import torch

from harness.benchmarks import alone, interleaved
from harness.benchmarks.groups import experts, norms, ranks
from harness.benchmarks.interleaved import TURNS, WARM, Form, Moving, measure
from harness.models.experts import dispatch


class Clock:
    """Remembers who had a turn. Each form takes three, one and two times its seconds, over and over."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.log = seconds, list[tuple[str, int]]()
        self.factors = {name: itertools.cycle((3, 1, 2)) for name in seconds}

    def __call__(self, work, calls: int) -> float:
        name = work()
        self.log.append((name, calls))
        return self.seconds[name] * next(self.factors[name])


def forms(*names: str) -> dict[str, Form]:
    return {n: Form(work=lambda n=n: n, bytes=1, flops=1) for n in names}  # type: ignore[misc]


def test_every_form_has_its_turns_in_every_round_and_the_quickest_counts() -> None:
    clock = Clock({"a": 1.0, "b": 2.0, "c": 4.0})
    seconds = measure(forms("a", "b", "c"), clock, 4)
    assert {n: len(s) for n, s in seconds.items()} == {"a": 4, "b": 4, "c": 4}
    turns = clock.log[3:]
    first = [turns[i][0] for i in range(0, len(turns), 3)]
    assert all({n for n, _ in turns[i : i + 3]} == {"a", "b", "c"} for i in range(0, len(turns), 3))
    # Who begins moves on, so that none always follows the same one.
    assert first == list(itertools.islice(itertools.cycle("abc"), 4 * TURNS))
    assert seconds == {"a": [1.0] * 4, "b": [2.0] * 4, "c": [4.0] * 4}


def test_short_forms_are_called_often_enough_and_long_ones_once() -> None:
    clock = Clock({"long": 1.0, "short": interleaved.LEAST / 24})
    measure(forms("long", "short"), clock, 1)
    assert dict(clock.log[:2]) == {"long": 1, "short": 1}
    # The first time, which decides, is three times the seconds.
    assert dict(clock.log[2:]) == {"long": 1, "short": 8}


def test_inputs_move_before_every_round_and_keep_their_values() -> None:
    moved: list[int] = []
    form = Form(work=lambda: "a", bytes=1, flops=1, move=lambda: moved.append(1))
    measure({"a": form}, Clock({"a": 1.0}), 5)
    assert len(moved) == 5
    x = torch.arange(6.0).requires_grad_()
    both = Moving(x, torch.ones(2))
    both.move()
    y, z = both.tensors
    assert y.data_ptr() != x.data_ptr() and torch.equal(y, x) and y.is_leaf
    assert y.requires_grad and not z.requires_grad


def test_forms_are_warm_before_they_are_timed() -> None:
    log: list[str] = []
    form = Form(work=lambda: log.append("call"), bytes=1, flops=1)

    def clock(work, calls: int) -> float:
        log.append("timed")
        return 1.0

    measure({"a": form}, clock, 1)
    assert log.index("timed") == WARM


def test_the_threads_own_clock_needs_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.raises(RuntimeError, match="needs one thread, not 2"):
        interleaved.timer("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_events_wait_for_the_gpu() -> None:
    form = interleaved.product(4096, "cuda")
    time_of = interleaved.timer("cuda:0")
    time_of(form.work, 3)
    # 1.4e11 operations take longer than a launch, on any card.
    assert time_of(form.work, 1) > 1e-4


# --- groups -------------------------------------------------------------------------------------------------


def test_a_group_has_parts_and_a_reference_among_its_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "SHAPES", {"cpu": ((8, 4),)})
    monkeypatch.setattr(experts, "SHAPES", {"cpu": ((32, 16, 128),)})
    monkeypatch.setattr(experts, "TOKENS", {"cpu": 64})
    monkeypatch.setattr(ranks, "SIDES", {"cpu": (16,)})
    for name in alone.group_names():
        group = alone.group(name)
        eager = [p for p in group.PARTS if "compiled" not in p and name != "dyt_against_rmsnorm"]
        for case in itertools.chain.from_iterable(group.cases(part, "cpu") for part in eager):
            assert case.reference in case.forms and len(case.forms) > 1, case.name
            assert case.ceiling not in case.forms, case.name
            for form in case.forms.values():
                form.move()
                form.work()
                assert form.bytes > 0


def test_a_norms_forms_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward of RMSNorm both ways; gradients of x and every parameter."""
    monkeypatch.setattr(norms, "SHAPES", {"cpu": ((8, 4),)})
    forward, both = norms.cases("eager", "cpu")
    torch.testing.assert_close(forward.forms["rmsnorm"].work(), forward.forms["torch_rmsnorm"].work())
    count = {n: len(form.work()) for n, form in both.forms.items()}  # type: ignore[arg-type]
    assert count == {
        "torch_layernorm": 3, "torch_rmsnorm": 2, "rmsnorm": 2, "dyt": 3, "derf": 4, "dyisru": 3,
    }  # fmt: skip
    assert both.forms["dyt"].bytes == 5 * 4 * 32 and forward.forms["dyt"].bytes == 2 * 4 * 32


def test_the_order_by_a_sort_is_the_order_by_counting() -> None:
    chosen_NE = torch.rand(50, 7, generator=torch.Generator().manual_seed(0)) > 0.6
    token_P, ends_E = experts.by_sort(chosen_NE)
    order = dispatch(chosen_NE)
    assert torch.equal(token_P, order.token_P)
    assert torch.equal(ends_E, order.ends_E)


def test_the_loop_over_experts_gives_what_the_mixture_gives() -> None:
    layer = experts.layer(32, 16, "loss_free")
    x = torch.randn(2, 64, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(experts.loop_over_experts(layer)(x), layer(x), rtol=1e-4, atol=1e-5)


def test_a_part_that_fails_is_absent_with_its_reason() -> None:
    found, why = alone.measured("norms", "compiled nothing", "cpu", 5)
    assert found == [] and "nothing" in why

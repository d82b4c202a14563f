"""The frame that batched optimizers share: what is worked on together changes no result."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from baselines.optimizers import _batched as module
from baselines.optimizers._batched import alike, gather, moving, pieces, scatter_, stacks
from harness.methods.construct import build
from tests.baselines.optimizers.lockstep import SMALL, in_double
from tests.baselines.optimizers.toys import draw_gradients, make_groups, parameters, values

NAMES = ["adafactor", "lion", "normuon", "schedule_free_adamw", "soap"]


def test_a_stack_goes_back_into_the_tensors_that_it_came_from():
    shapes = [(2, 3), (4, 2, 3), (2, 3), (1, 2, 3)]
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    stack = gather(tensors)
    assert stack.shape == (7, 2, 3)
    assert all(torch.equal(a, b) for a, b in zip(pieces(stack, tensors), tensors, strict=True))
    doubled = [2 * t for t in tensors]
    scatter_(2 * stack, tensors)
    assert all(torch.equal(a, b) for a, b in zip(tensors, doubled, strict=True))
    vectors = [torch.ones(3), torch.zeros(3)]
    assert gather(vectors).tolist() == [[1, 1, 1], [0, 0, 0]]
    assert [tuple(v.shape) for v in pieces(gather(vectors), vectors)] == [(3,), (3,)]


def test_stacks_hold_equal_matrices_up_to_a_limit_and_at_least_one(monkeypatch):
    monkeypatch.setattr(module, "STACK_ELEMENTS", {"cpu": 12})
    sizes = [(2, 3), (3, 2), (2, 3), (2, 3), (9, 9), (3,)]
    found = [[tuple(p.shape) for p in stack] for stack in stacks([torch.zeros(s) for s in sizes])]
    assert found == [[(2, 3), (2, 3)], [(2, 3)], [(3, 2)], [(9, 9)], [(3,)]]
    mixed = [torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.float64)]
    assert [len(stack) for stack in stacks(mixed)] == [1, 1]


def test_what_is_alike_keeps_its_order():
    assert alike([3, 1, 4, 1, 5, 9, 2, 6], lambda n: n % 2) == [[3, 1, 1, 5, 9], [4, 2, 6]]


def test_only_parameters_with_gradient_and_elements_move():
    with_gradient, without, empty = (nn.Parameter(torch.zeros(n)) for n in (2, 2, 0))
    with_gradient.grad, empty.grad = torch.ones(2), torch.ones(0)
    (only,) = moving({"params": [without, with_gradient, empty]})
    assert only is with_gradient


@pytest.mark.parametrize("name", NAMES)
def test_sharing_a_stack_or_a_group_changes_no_result(name, monkeypatch):
    """Float64: only the order of sums inside a product may differ; Newton-Schulz's are in float32."""
    fields = {"precision": "float32"} if name == "normuon" else {"frequency": 2} if name == "soap" else {}
    method = build("optimizer", {"name": name, "lr": 0.01, **fields})

    def train(limit: int, merge: bool) -> list[torch.Tensor]:
        monkeypatch.setattr(module, "STACK_ELEMENTS", {"cpu": limit})
        # Square matrices: of others the first gradient leaves SOAP's bases open.
        groups = make_groups([entry for entry in SMALL if entry[1] not in ("wide", "tall", "also_wide")])
        groups = in_double(groups) if merge else [in_double([group])[0] for group in groups]
        optimizer = method.build(groups)
        for step in range(4):
            draw_gradients(groups, step)
            optimizer.step()
        return values(groups)

    together = train(2**20, True)
    for other in (train(1, True), train(2**20, False)):
        for a, b in zip(together, other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5 if name == "normuon" else 1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_a_closure_is_evaluated_with_gradients_before_the_step(name):
    groups = make_groups()
    optimizer = build("optimizer", {"name": name, "lr": 0.01}).build(groups)
    before = values(groups)
    optimizer.zero_grad()

    def closure() -> torch.Tensor:
        loss = sum(p.square().sum() for p in parameters(groups))
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(sum(b.square().sum().item() for b in before), rel=1e-5)
    draw_gradients(groups, 0)
    optimizer.step()
    assert not any(torch.equal(p, b) for p, b in zip(parameters(groups), before, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_gradient_is_left_alone_with_its_state(name):
    groups = make_groups()
    optimizer = build("optimizer", {"name": name, "lr": 0.01}).build(groups)
    for p in parameters(groups):
        p.grad = None
    before = values(groups)
    optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(parameters(groups), before, strict=True))
    assert not any(optimizer.state[p] for p in parameters(groups))

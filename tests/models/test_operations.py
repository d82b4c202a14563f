"""Hand-fused operations against their formulas, in value and gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from harness.models import operations
from harness.models.operations import normed_rotary, relu2, rotary_table, rotate


def both(function, formula, *shape: int) -> None:
    """Value and gradient agree in float32, to rounding."""
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=True)
    g = torch.randn(shape)
    y, z = function(x), formula(x)
    torch.testing.assert_close(y, z, rtol=1e-5, atol=1e-6)
    (dx,) = torch.autograd.grad(y, x, g)
    (dz,) = torch.autograd.grad(z, x, g)
    torch.testing.assert_close(dx, dz, rtol=1e-4, atol=1e-5)


def test_relu2_is_the_square_of_relu_with_its_gradient() -> None:
    both(relu2, lambda x: x.relu().square(), 5, 7)
    values = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    relu2(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 0.0, 6.0]


@pytest.mark.parametrize("normed", [True, False])
def test_fused_rotary_equals_its_formula(normed: bool) -> None:
    table = rotary_table(9, 8, 10_000.0)

    def formula(x: torch.Tensor) -> torch.Tensor:
        return rotate(F.rms_norm(x, (8,), eps=operations.QK_NORM_EPS) if normed else x, table[: x.shape[1]])

    both(lambda x: normed_rotary(x, table, normed), formula, 2, 7, 4, 8)


def test_rotary_logits_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    table = rotary_table(64, 16, 10_000.0)
    q, k = torch.randn(16), torch.randn(16)

    def logit(i: int, j: int) -> float:
        x = torch.zeros(1, 64, 2, 16)
        x[0, i, 0], x[0, j, 1] = q, k
        y = normed_rotary(x, table, False)
        return float(y[0, i, 0] @ y[0, j, 1])

    assert logit(10, 3) == pytest.approx(logit(60, 53), rel=1e-4)
    assert logit(10, 3) != pytest.approx(logit(10, 4), rel=1e-2)
    assert logit(5, 5) == pytest.approx(float(q @ k), rel=1e-5)


def test_normed_rotary_has_unit_rms() -> None:
    y = normed_rotary(7.0 * torch.randn(2, 5, 3, 16), rotary_table(5, 16, 10_000.0), True)
    torch.testing.assert_close(y.square().mean(-1), torch.ones(2, 5, 3), rtol=1e-4, atol=1e-4)

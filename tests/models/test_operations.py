"""Hand-fused operations against their formulas, in value and gradient."""

from __future__ import annotations

import cmath

import pytest
import torch

from harness.models import operations
from harness.models.operations import heads, relu2, rotary_table, rotate, tables_for


def both(function, formula, shape: tuple[int, ...], gradient: tuple[int, ...] | None = None) -> None:
    """Value and gradient agree in float32, to rounding."""
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=True)
    g = torch.randn(gradient or shape)
    y, z = function(x), formula(x)
    torch.testing.assert_close(y, z, rtol=1e-5, atol=1e-6)
    (dx,) = torch.autograd.grad(y, x, g)
    (dz,) = torch.autograd.grad(z, x, g)
    torch.testing.assert_close(dx, dz, rtol=1e-4, atol=1e-5)


def test_relu2_is_the_square_of_relu_with_its_gradient() -> None:
    both(relu2, lambda x: x.relu().square(), (5, 7))
    values = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    relu2(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 0.0, 6.0]


@pytest.mark.parametrize("normed", [True, False])
def test_fused_heads_equal_their_formula(normed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables_for(rotary_table(9, 8, 10_000.0)[:7], 4)

    def fused(x: torch.Tensor) -> torch.Tensor:
        return torch.cat(heads(x, table, 4, normed), 1)

    def formula(x: torch.Tensor) -> torch.Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(operations, "fusable", lambda *tensors: False)
            return torch.cat(heads(x, table, 4, normed), 1)

    both(fused, formula, (2, 7, 3 * 4 * 8), (2, 3 * 4, 7, 8))


def test_values_pass_and_keys_turn() -> None:
    x = torch.randn(2, 5, 3 * 2 * 8)
    q, k, v = heads(x, tables_for(rotary_table(5, 8, 10_000.0), 2), 2, False)
    assert torch.equal(v, x.view(2, 5, 3, 2, 8)[:, :, 2].transpose(1, 2))
    # Position 0 is not turned; no position changes a length.
    torch.testing.assert_close(k[:, :, 0], x.view(2, 5, 3, 2, 8)[:, 0, 1])
    torch.testing.assert_close(q.norm(dim=-1), x.view(2, 5, 3, 2, 8)[:, :, 0].transpose(1, 2).norm(dim=-1))


@pytest.mark.parametrize("base", [100.0, 10_000.0])
def test_rotation_is_multiplication_by_a_complex_exponential(base: float) -> None:
    x = torch.randn(1, 6, 1, 8, dtype=torch.float64)
    y = rotate(x, rotary_table(6, 8, base)[:, None].double())
    for position in range(6):
        for i in range(4):
            z = complex(*x[0, position, 0, 2 * i : 2 * i + 2].tolist())
            turned = z * cmath.exp(1j * position * base ** (-2 * i / 8))
            assert complex(*y[0, position, 0, 2 * i : 2 * i + 2].tolist()) == pytest.approx(turned, abs=1e-6)


def test_rotary_logits_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    table = tables_for(rotary_table(64, 16, 10_000.0), 1)
    q, k = torch.randn(16), torch.randn(16)

    def logit(i: int, j: int) -> float:
        x = torch.zeros(1, 64, 3, 16)
        x[0, i, 0], x[0, j, 1] = q, k
        a, b, _ = heads(x.flatten(2), table, 1, False)
        return float(a[0, 0, i] @ b[0, 0, j])

    assert logit(10, 3) == pytest.approx(logit(60, 53), rel=1e-4)
    assert logit(10, 3) != pytest.approx(logit(10, 4), rel=1e-2)
    assert logit(5, 5) == pytest.approx(float(q @ k), rel=1e-5)


def test_normed_queries_and_keys_have_unit_rms() -> None:
    x = 7.0 * torch.randn(2, 5, 3 * 3 * 16)
    q, k, _ = heads(x, tables_for(rotary_table(5, 16, 10_000.0), 3), 3, True)
    torch.testing.assert_close(torch.stack((q, k)).square().mean(-1), torch.ones(2, 2, 3, 5), rtol=1e-4, atol=1e-4)

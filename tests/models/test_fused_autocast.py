"""Every hand-fused operation inside autocast against its formula in float64, in value and gradient.

Autocast reaches into what is written by hand: a product inside an operation is cast to bfloat16 too, unless the
operation says otherwise.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import baselines
import harness
from baselines.norms.rmsnorm import RMSNorm
from harness.models.operations import QK_NORM_EPS, attention, heads, relu2, rotary_table, rotate, tables_for

Operation = Callable[[Tensor], Tensor]
TABLE_TI2 = rotary_table(7, 8, 10_000.0)


def fused_heads(normed: bool) -> Operation:
    return lambda x: torch.cat(heads(x, tables_for(TABLE_TI2, 4), 4, normed), 1)


def exact_heads(normed: bool) -> Operation:
    def formula(x: Tensor) -> Tensor:
        qk, v = x.unflatten(-1, (12, 8)).split((8, 4), 2)
        if normed:
            qk = qk / (qk.square().mean(-1, keepdim=True) + QK_NORM_EPS).sqrt()
        return torch.cat((rotate(qk, TABLE_TI2[:, None].double()), v), 2).transpose(1, 2)

    return formula


def fused_rms_norm(x: Tensor) -> Tensor:
    norm = RMSNorm(eps=1e-6).build(16, "final")
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2.0, 16))
    return norm(x)


def exact_rms_norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * torch.linspace(0.5, 2.0, 16).to(x.dtype)


def fused_attention(x: Tensor) -> Tensor:
    return attention(*x.unbind(0), 0.3, torch.bfloat16)


def exact_attention(x: Tensor) -> Tensor:
    q, k, v = x.unbind(0)
    logits = 0.3 * q @ k.mT + torch.full((6, 6), -torch.inf, dtype=x.dtype).triu(1)
    return logits.softmax(-1) @ v


CASES: dict[str, tuple[Operation, Operation, tuple[int, ...]]] = {
    "_Relu2": (relu2, lambda x: F.relu(x) ** 2, (5, 40)),
    "_Heads": (fused_heads(True), exact_heads(True), (2, 7, 96)),
    "_Heads, not normed": (fused_heads(False), exact_heads(False), (2, 7, 96)),
    "_FusedRMSNorm": (fused_rms_norm, exact_rms_norm, (3, 50, 16)),
    "attention": (fused_attention, exact_attention, (3, 2, 4, 6, 8)),
}


# torch's own form of RMSNorm, which bfloat16 takes, says that it is not its fast one.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_inside_autocast_are_the_formulas(name: str, dtype: torch.dtype) -> None:
    """To the rounding of what goes in and out; the gradient is taken inside autocast too."""
    fused, exact, shape = CASES[name]
    torch.manual_seed(0)
    x = torch.randn(shape).to(dtype).requires_grad_()
    exact_x = x.detach().double().requires_grad_()
    expected = exact(exact_x)
    with torch.autocast("cpu", torch.bfloat16):
        found = fused(x)
        g = torch.randn(expected.shape).to(found.dtype)
        (dx,) = torch.autograd.grad(found, x, g)
    (exact_dx,) = torch.autograd.grad(expected, exact_x, g.double())
    for got, want in ((found, expected), (dx, exact_dx)):
        # A handful of roundings of the number's own format, of sums that are of order one.
        few = 8 * torch.finfo(got.dtype).eps
        torch.testing.assert_close(got.double(), want, rtol=few, atol=few)


def test_every_operation_written_by_hand_is_held_to_its_formula_here() -> None:
    found = set()
    for package in (harness, baselines):
        for file in Path(next(iter(package.__path__))).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and any("Function" in ast.unparse(b) for b in node.bases):
                    found.add(node.name)
    assert found == {name for name in CASES if name.startswith("_") and "," not in name}


def test_normed_queries_and_keys_have_unit_rms_inside_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        q, k, _ = heads(7.0 * torch.randn(2, 7, 96), tables_for(TABLE_TI2, 4), 4, True)
    rms = torch.stack((q, k)).square().mean(-1).sqrt()
    torch.testing.assert_close(rms, torch.ones_like(rms), rtol=1e-5, atol=0)

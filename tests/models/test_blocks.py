"""Blocks as any residual network uses them: with and without a causal mask, with and without rotary positions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from baselines.norms.rmsnorm import RMSNorm
from baselines.parametrizations.standard import Standard
from harness.models.blocks import BlockArchitecture, build_blocks, stacks
from harness.models.operations import attention, heads, rotary_table, tables_for
from harness.models.parameters import places

SEEING_ALL = BlockArchitecture(width=32, depth=2, head_width=8, causal=False)


def network(a: BlockArchitecture) -> nn.ModuleList:
    torch.manual_seed(0)
    blocks = build_blocks(a, RMSNorm(), Standard())
    for p in blocks.parameters():
        nn.init.normal_(p, std=0.2)
    return blocks


def through(blocks: nn.ModuleList, x_BTD: torch.Tensor) -> torch.Tensor:
    for block in blocks:
        x_BTD = block(x_BTD)
    return x_BTD


@pytest.mark.parametrize("qk_norm", [True, False])
def test_blocks_without_mask_and_positions_do_not_know_the_order(qk_norm: bool) -> None:
    blocks = network(replace(SEEING_ALL, qk_norm=qk_norm))
    x, order = torch.randn(2, 6, 32), torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(through(blocks, x)[:, order], through(blocks, x[:, order]), rtol=1e-4, atol=1e-5)


def test_a_causal_block_sees_no_later_position() -> None:
    blocks = network(replace(SEEING_ALL, causal=True))
    x = torch.randn(1, 6, 32)
    other = torch.cat((x[:, :4], torch.randn(1, 2, 32)), 1)
    assert torch.equal(through(blocks, x)[:, :4], through(blocks, other)[:, :4])
    blocks = network(SEEING_ALL)
    assert not torch.allclose(through(blocks, x)[:, :4], through(blocks, other)[:, :4], atol=1e-3)


@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_the_softmax_written_out(causal: bool) -> None:
    q, k, v = torch.randn(3, 2, 3, 5, 8, dtype=torch.float64)
    logits = 0.3 * q @ k.mT
    if causal:
        logits = logits.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(attention(q, k, v, 0.3, q.dtype, causal), logits.softmax(-1) @ v)


def test_heads_without_positions_are_those_at_position_zero() -> None:
    qkv = torch.randn(2, 5, 3 * 2 * 8)
    still = tables_for(rotary_table(1, 8, 10_000.0).expand(5, -1, -1), 2)
    for a, b in zip(heads(qkv, None, 2, True), heads(qkv, still, 2, True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_parameters_of_blocks_know_their_place_and_their_members() -> None:
    blocks = network(replace(SEEING_ALL, feed_forward="swiglu"))
    assert {p.role for p in places(blocks).values()} == {"hidden", "vector"}
    assert all(p.residual for p in places(blocks).values())
    assert stacks(blocks) == {
        f"{i}.{name}": members for i in range(2) for name, members in (
            ("attention.qkv.weight", ("query", "key", "value")),
            ("feed_forward.gate_up.weight", ("gate", "up")),
        )
    }  # fmt: skip
